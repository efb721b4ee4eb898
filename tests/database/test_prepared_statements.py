"""Prepared statements of a connection, and their failures."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from django.db import DataError, ProgrammingError, connection, transaction
from django.db.models import CharField, Value

from pcf.database.compiled_queries import AnyOf, CompiledQuery, Parameter
from pcf.database.prepared_statements import ReadStatement
from pcf.database.retry import idempotent_reads
from pcf.errors import ConnectionLost
from pcf.timeouts import DeadlineExceeded, TimeoutContext, activate
from tags.models import Tag

pytestmark = pytest.mark.django_db(transaction=True)

SUM = ReadStatement("SELECT %s::int + %s::int", b"SELECT $1::int + $2::int")


def prepared():
    """The names of the connection's prepared statements, with the number of their uses."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name, generic_plans + custom_plans FROM pg_prepared_statements ORDER BY"
            " prepare_time"
        )
        return cursor.fetchall()


@pytest.fixture(autouse=True)
def _fresh_connection():
    connection.close()
    connection.close_pool()
    with connection.cursor() as cursor:  # outside requests the first statement carries a RESET
        cursor.execute("SELECT 1")
    yield
    connection.close()
    connection.close_pool()


def test_a_statement_is_prepared_at_its_second_use():
    assert connection.rows(SUM, [1, 2]) == [(3,)]
    assert prepared() == []
    assert connection.rows(SUM, [3, 4]) == [(7,)]
    assert connection.rows(SUM, [5, 6]) == [(11,)]
    assert [uses for _, uses in prepared()] == [2]


def test_a_prepared_statement_is_planned_once():
    """By default PostgreSQL plans a look-up by keys anew for each value."""
    tags = [Tag.objects.create(name=name) for name in "abc"]
    rows = Tag.objects.filter(AnyOf("pk", Parameter("keys"))).values_list("pk")
    statement = CompiledQuery(rows, "default")
    for tag in tags * 3:
        assert statement.rows("default", {"keys": [tag.pk]}) == [(tag.pk,)]
    with connection.cursor() as cursor:
        cursor.execute("SELECT generic_plans, custom_plans FROM pg_prepared_statements")
        assert cursor.fetchall() == [(8, 0)]


def test_prepared_and_plain_statements_read_the_same():
    Tag.objects.create(name="100%s")
    tags = Tag.objects.filter(pk__gt=Parameter("after"), name__contains="0%").annotate(
        mark=Value("$1 '%s' \\ ?", output_field=CharField(max_length=20))
    )
    statement = CompiledQuery(tags.values_list("mark", "name"), "default")
    expected = [("$1 '%s' \\ ?", "100%s")]
    for _ in range(3):
        assert statement.rows("default", {"after": 0}) == expected
    assert len(prepared()) == 1


def test_nothing_is_prepared_in_a_transaction():
    with transaction.atomic():
        for _ in range(3):
            assert connection.rows(SUM, [1, 2]) == [(3,)]
    assert prepared() == []


def test_nothing_is_prepared_with_a_limit_of_its_own():
    with activate(TimeoutContext.start("client", 2.0)):
        for _ in range(3):
            assert connection.rows(SUM, [1, 2]) == [(3,)]
    assert prepared() == []


def test_nothing_is_prepared_in_shared_sessions(monkeypatch):
    connection.ensure_connection()
    monkeypatch.setattr(connection.connection, "keeps_session_limit", False)
    for _ in range(3):
        assert connection.rows(SUM, [1, 2]) == [(3,)]
    assert prepared() == []


def test_nothing_is_prepared_when_the_setting_is_zero(configure):
    configure("database", prepared_statements=0)
    for _ in range(3):
        assert connection.rows(SUM, [1, 2]) == [(3,)]
    assert prepared() == []


def test_parameters_of_unknown_types_are_no_error():
    vague = ReadStatement("SELECT %s + %s", b"SELECT $1 + $2")
    for _ in range(4):
        assert connection.rows(vague, [1, 2]) == [(3,)]
    assert prepared() == []


def test_the_least_recently_used_statements_are_deallocated(configure):
    configure("database", prepared_statements=2)
    reads = [ReadStatement(f"SELECT {n}, %s::int", f"SELECT {n}, $1::int".encode()) for n in "123"]
    for number, read in enumerate(reads, 1):
        for _ in range(2):
            assert connection.rows(read, [7]) == [(number, 7)]
    assert len(prepared()) == 2
    for number, read in enumerate(reads, 1):
        assert connection.rows(read, [8]) == [(number, 8)]
    assert len(prepared()) <= 2


def test_a_column_that_changes_its_type_is_read():
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE changing (n integer)")
        cursor.execute("INSERT INTO changing VALUES (1)")
    read = ReadStatement(
        "SELECT n FROM changing WHERE n > %s", b"SELECT n FROM changing WHERE n > $1"
    )
    try:
        for _ in range(2):
            assert connection.rows(read, [0]) == [(1,)]
        assert len(prepared()) == 1
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE changing ALTER n TYPE text")
            cursor.execute("ALTER TABLE changing ADD COLUMN m integer")
        with pytest.raises(ProgrammingError):  # text > integer is an error of the statement now
            connection.rows(read, [0])
        everything = ReadStatement("SELECT * FROM changing", b"SELECT * FROM changing")
        for _ in range(2):
            assert connection.rows(everything, []) == [("1", None)]
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE changing ALTER n TYPE integer USING n::integer")
        for _ in range(3):
            assert connection.rows(everything, []) == [(1, None)]
            assert connection.rows(read, [0]) == [(1,)]
        assert len(prepared()) == 2
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE changing")


def test_a_column_with_a_larger_type_takes_larger_parameters():
    """The prepared statement still has a parameter of the old type."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE growing (n integer)")
        cursor.execute("INSERT INTO growing VALUES (1)")
    text = "SELECT 'found' FROM growing WHERE n < "
    read = ReadStatement(f"{text}%s", f"{text}$1".encode())
    try:
        for _ in range(2):
            assert connection.rows(read, [2]) == [("found",)]
        assert len(prepared()) == 1
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE growing ALTER n TYPE bigint")
        for _ in range(3):
            assert connection.rows(read, [2**40]) == [("found",)]
        assert len(prepared()) == 1
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE growing")


def test_a_discarded_statement_is_prepared_again():
    for _ in range(2):
        connection.rows(SUM, [1, 2])
    with connection.cursor() as cursor:
        cursor.execute("DISCARD ALL")
    for _ in range(3):
        assert connection.rows(SUM, [1, 2]) == [(3,)]
    assert len(prepared()) == 1


def test_an_error_of_the_statement_is_raised_and_changes_nothing():
    division = ReadStatement("SELECT 1 / %s::int", b"SELECT 1 / $1::int")
    for _ in range(2):
        assert connection.rows(division, [1]) == [(1,)]
    with pytest.raises(DataError):
        connection.rows(division, [0])
    for _ in range(2):
        assert connection.rows(division, [1]) == [(1,)]
    assert len(prepared()) == 1


def test_null_is_a_value_and_timestamps_have_the_settings_zone():
    read = ReadStatement("SELECT %s::int, %s::timestamptz", b"SELECT $1::int, $2::timestamptz")
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    for _ in range(3):
        assert connection.rows(read, [None, moment]) == [(None, moment)]
    del connection.timezone
    connection.timezone_name = "Asia/Tokyo"
    connection.timezone = ZoneInfo("Asia/Tokyo")
    connection.ensure_timezone()
    try:
        for _ in range(3):
            ((_, found),) = connection.rows(read, [None, moment])
            assert (found, found.tzinfo) == (moment, ZoneInfo("Asia/Tokyo"))
    finally:
        del connection.timezone, connection.timezone_name


def test_the_deadline_ends_a_prepared_statement_too(configure):
    sleep = ReadStatement("SELECT pg_sleep(%s::float)::text", b"SELECT pg_sleep($1::float)::text")
    configure("timeouts", database=0.3, min_database_budget=0.1)
    for _ in range(2):  # with the limit that the session keeps
        with activate(TimeoutContext.start("http", 30.0)):
            assert connection.rows(sleep, [0]) == [("",)]
            assert connection.rows(sleep, [0]) == [("",)]
            with pytest.raises(DeadlineExceeded):
                connection.rows(sleep, [5])
    assert len(prepared()) == 1


def test_a_read_is_retried_when_its_connection_is_cut():
    with activate(TimeoutContext.start("http", 30.0)), idempotent_reads():
        for _ in range(3):
            connection.rows(SUM, [1, 2])
        end_backend()
        assert connection.rows(SUM, [1, 2]) == [(3,)]
    with activate(TimeoutContext.start("http", 30.0)):
        for _ in range(3):
            connection.rows(SUM, [1, 2])
        end_backend()
        with pytest.raises(ConnectionLost):  # the read was not declared idempotent
            connection.rows(SUM, [1, 2])


def end_backend():
    """Cut the connection on the server's side."""
    pid = connection.connection.info.backend_pid
    other = connection.connect_outside_pool()
    with other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    other.close()
