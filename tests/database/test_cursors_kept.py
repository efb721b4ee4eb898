"""The cursor for reads stays with its connection."""

from django.db import connection
from django.test.utils import CaptureQueriesContext

from pcf.database.backend.base import MAX_KEPT_ROWS
from pcf.database.backend.read_cursor import ReadCursor
from pcf.database.prepared_statements import ReadStatement

MANY = ReadStatement("SELECT generate_series(1, %s)", b"SELECT generate_series(1, $1)")


def test_the_cursor_is_kept_but_not_with_many_rows(db):
    assert connection.rows(MANY, [MAX_KEPT_ROWS])[-1] == (MAX_KEPT_ROWS,)
    kept = connection.connection.read_cursor
    assert connection.rows(MANY, [2]) == [(1,), (2,)]
    assert connection.connection.read_cursor is kept
    connection.rows(MANY, [MAX_KEPT_ROWS + 1])
    assert connection.connection.read_cursor is None


def test_a_logging_cursor_is_not_kept(db):
    connection.rows(MANY, [1])
    with CaptureQueriesContext(connection) as captured:
        connection.rows(MANY, [1])
        connection.rows(MANY, [1])
    assert len(captured) == 2
    connection.rows(MANY, [1])
    assert type(connection.connection.read_cursor) is ReadCursor


def test_debug_has_no_price_for_the_reads_of_loaders(db, settings):
    settings.DEBUG = True
    connection.rows(MANY, [1])
    kept = connection.connection.read_cursor
    before = len(connection.queries_log)
    connection.rows(MANY, [1])
    assert connection.connection.read_cursor is kept
    assert type(kept) is ReadCursor
    assert len(connection.queries_log) == before


def test_execute_wrappers_are_called(db):
    seen = []

    def wrapper(execute, sql, *rest):
        seen.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(wrapper):
        connection.rows(MANY, [1])
    assert seen == [MANY.text]


def test_another_connection_has_another_cursor(transactional_db):
    connection.rows(MANY, [1])
    kept = connection.connection.read_cursor
    # A pool may give the connection that it got back, so the test keeps the first one.
    line, connection.connection = connection.connection, None
    try:
        assert connection.rows(MANY, [1]) == [(1,)]
        assert connection.connection.read_cursor is not kept
        assert connection.connection.read_cursor.cursor.connection is connection.connection
    finally:
        connection.close()
        connection.connection = line


def test_the_next_user_of_the_connection_has_its_cursor_and_own_wrappers(transactional_db):
    """The cursor stays with the connection, and runs statements for the wrapper that uses it."""
    connection.rows(MANY, [1])
    kept = connection.connection.read_cursor
    line, connection.connection = connection.connection, None
    other = connection.copy()
    other.connection, seen = line, []
    try:
        other.execute_wrappers.append(
            lambda execute, sql, *rest: seen.append(sql) or execute(sql, *rest)
        )
        assert other.rows(MANY, [1]) == [(1,)]
        assert (seen, line.read_cursor) == ([MANY.text], kept)
        other.execute_wrappers.clear()
        assert other.rows(MANY, [2]) == [(1,), (2,)]
        assert (line.read_cursor, kept.db) == (kept, other)
    finally:
        other.connection, connection.connection = None, line
