"""Reading through a cursor that the connection keeps."""

from django.db import connection
from django.test.utils import CaptureQueriesContext

from pcf.database.backend.base import _KEPT_ROWS
from pcf.database.backend.cursors import Reader
from pcf.database.reads import ReadText

MANY = ReadText("SELECT generate_series(1, %s)", b"SELECT generate_series(1, $1)")


def test_the_cursor_is_kept_but_not_with_many_rows(db):
    assert connection.rows(MANY, [_KEPT_ROWS])[-1] == (_KEPT_ROWS,)
    kept = connection.connection.reader
    assert connection.rows(MANY, [2]) == [(1,), (2,)]
    assert connection.connection.reader is kept
    connection.rows(MANY, [_KEPT_ROWS + 1])
    assert connection.connection.reader is None


def test_a_cursor_that_logs_is_not_kept_and_logs_everything(db):
    connection.rows(MANY, [1])
    with CaptureQueriesContext(connection) as captured:
        connection.rows(MANY, [1])
        connection.rows(MANY, [1])
    assert len(captured) == 2
    connection.rows(MANY, [1])
    assert type(connection.connection.reader) is Reader


def test_wrappers_of_statements_are_called(db):
    seen = []

    def wrapper(execute, sql, *rest):
        seen.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(wrapper):
        connection.rows(MANY, [1])
    assert seen == [MANY.text]


def test_another_connection_has_another_cursor(transactional_db):
    connection.rows(MANY, [1])
    kept = connection.connection.reader
    connection.close()
    assert connection.rows(MANY, [1]) == [(1,)]
    assert connection.connection.reader is not kept
    assert connection.connection.reader.cursor.connection is connection.connection


def test_who_has_the_connection_next_has_its_cursor_and_his_own_guards(transactional_db):
    """The cursor goes with the connection; what runs through it runs for the one who asks."""
    connection.rows(MANY, [1])
    kept = connection.connection.reader
    line, connection.connection = connection.connection, None
    other = connection.copy()
    other.connection, seen = line, []
    try:
        other.execute_wrappers.append(
            lambda execute, sql, *rest: seen.append(sql) or execute(sql, *rest)
        )
        assert other.rows(MANY, [1]) == [(1,)]
        assert (seen, line.reader) == ([MANY.text], kept)
        other.execute_wrappers.clear()
        assert other.rows(MANY, [2]) == [(1,), (2,)]
        assert (line.reader, kept.db) == (kept, other)
    finally:
        other.connection, connection.connection = None, line
