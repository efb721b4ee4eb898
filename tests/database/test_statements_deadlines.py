"""Statements under the request's budget: limits, round trips, leaks, errors."""

from contextlib import suppress

import psycopg
import pytest
from django.db import DatabaseError, OperationalError, transaction
from django.test.utils import CaptureQueriesContext

from pcf.database.statements import query_with_timeout
from pcf.timeouts import DeadlineExceeded, InsufficientTime, TimeoutContext, activate

LIMIT = "SELECT current_setting('statement_timeout')"


def under(seconds, layer="http"):
    return activate(TimeoutContext.start(layer, seconds))


def short_of(seconds):
    """A request of 30 s of which only ``seconds`` are left."""
    context = TimeoutContext.start("http", 30)
    return activate(context._replace(deadline=context.deadline - 30 + seconds))


def milliseconds(value):
    number = int("".join(c for c in value if c.isdigit()))
    return number * {"ms": 1, "s": 1_000, "min": 60_000}[value.lstrip("0123456789")]


def test_a_request_with_time_enough_has_the_database_limit(wrapper, one):
    with under(30):
        assert one(wrapper, LIMIT) == ("20s",)


def test_a_request_with_less_has_what_is_left_of_its_budget(wrapper, one):
    with under(5):
        assert 4_000 < milliseconds(one(wrapper, LIMIT)[0]) < 5_000


def test_outside_a_request_the_servers_own_limit_applies(wrapper, one, other):
    own = other.execute(LIMIT).fetchone()
    assert one(wrapper, LIMIT) == own
    with under(30):
        one(wrapper, "SELECT 1")
    assert one(wrapper, LIMIT) == own
    with under(5):
        one(wrapper, "SELECT 1")
    assert one(wrapper, LIMIT) == own


def test_a_tight_limit_does_not_reach_the_next_user_of_the_connection(wrapper, one):
    with under(3):
        assert milliseconds(one(wrapper, LIMIT)[0]) < 3_000
        pid = one(wrapper, "SELECT pg_backend_pid()")
    wrapper.close()
    with under(30):
        assert one(wrapper, LIMIT) == ("20s",)
        assert one(wrapper, "SELECT pg_backend_pid()") == pid


@pytest.mark.parametrize("how", ["executemany", "copy", "ddl"])
def test_limits_of_statements_sent_alone_do_not_leak_either(wrapper, one, how):
    with under(3), wrapper.cursor() as cursor:
        if how == "executemany":
            cursor.executemany("SELECT %s", [(1,), (2,)])
        elif how == "copy":
            with cursor.copy(
                "COPY (SELECT current_setting('statement_timeout')) TO STDOUT"
            ) as copy:
                assert milliseconds(bytes(next(iter(copy))).decode().strip()) < 3_000
                assert list(copy) == []
        else:
            cursor.execute("CREATE TEMPORARY TABLE alone AS " + LIMIT)
            cursor.execute("SELECT * FROM alone")
            assert milliseconds(cursor.fetchone()[0]) < 3_000
    wrapper.close()
    with under(30):
        assert one(wrapper, LIMIT) == ("20s",)


def test_limits_inside_a_transaction(wrapper, one):
    with under(30), transaction.atomic(using=wrapper.alias):
        assert one(wrapper, LIMIT) == ("20s",)
        with under(5):
            assert milliseconds(one(wrapper, LIMIT)[0]) < 5_000
        assert one(wrapper, LIMIT) == ("20s",)
    with activate(None):
        assert one(wrapper, LIMIT) == ("0",)


def test_limits_survive_rolled_back_savepoints(wrapper, one):
    with under(30), transaction.atomic(using=wrapper.alias):
        with under(5):
            one(wrapper, "SELECT 1")
        with suppress(ZeroDivisionError), transaction.atomic(using=wrapper.alias):
            assert one(wrapper, LIMIT) == ("20s",)
            raise ZeroDivisionError
        assert one(wrapper, LIMIT) == ("20s",)


def test_the_limit_of_a_transaction_ends_with_its_rollback(wrapper, one):
    with suppress(ZeroDivisionError), under(5), transaction.atomic(using=wrapper.alias):
        one(wrapper, "SELECT 1")
        raise ZeroDivisionError
    with under(30):
        assert one(wrapper, LIMIT) == ("20s",)


def test_the_next_transaction_sends_its_limit_again(wrapper, one):
    with under(30):
        one(wrapper, "SELECT 1")
    with activate(None):
        one(wrapper, "SELECT 1")  # resets the session to the server's own limit
    for _ in range(2):
        with under(30), transaction.atomic(using=wrapper.alias):
            assert one(wrapper, LIMIT) == ("20s",)


def test_a_failed_statement_leaves_the_next_limit_right(wrapper, one):
    with activate(None):
        one(wrapper, "SELECT 1")
    with under(30):
        with pytest.raises(DatabaseError, match="division by zero"):
            one(wrapper, "SELECT 1 / 0")
        assert one(wrapper, LIMIT) == ("20s",)


def test_a_limit_that_the_caller_sets_in_a_request_is_replaced(wrapper, one):
    with under(30):
        one(wrapper, "SET statement_timeout = 0")
        assert one(wrapper, LIMIT) == ("20s",)


def test_a_limit_that_the_caller_sets_outside_a_request_stays(wrapper, one):
    one(wrapper, "SET statement_timeout = '7s'")
    assert one(wrapper, LIMIT) == ("7s",)
    with under(30):
        assert one(wrapper, LIMIT) == ("20s",)


def test_sessions_shared_by_a_pooler_keep_nothing(make_wrapper, one):
    shared = make_wrapper(options={"session_statement_timeout": False})
    with under(30):
        assert one(shared, LIMIT) == ("20s",)
    raw = shared.connection.execute(LIMIT).fetchone()
    assert raw == ("0",)


def test_no_statement_costs_a_second_round_trip(proxied, proxy, one):
    with under(30):
        one(proxied, "SELECT 1")  # connects
        before = proxy.round_trips
        one(proxied, "SELECT 1")
        assert proxy.round_trips - before == 1
        assert proxy.texts[-1] == "SELECT 1"
    with under(5):
        before = proxy.round_trips
        one(proxied, "SELECT %s", [2])
        assert proxy.round_trips - before == 1
        assert proxy.texts[-1].startswith("SET LOCAL statement_timeout = ")
        assert proxy.texts[-1].endswith("; SELECT 2")


def test_taking_a_connection_used_lately_costs_no_round_trip(proxied, proxy, one):
    with under(30):
        one(proxied, "SELECT 1")
        proxied.close()
        before = proxy.round_trips
        one(proxied, "SELECT 1")
    assert proxy.round_trips - before == 1


@pytest.mark.blocks("a statement", at_least=0.3, within=5)
def test_a_cancelled_statement_names_its_limit(wrapper, one, configure):
    configure("timeouts", database=0.3)
    with under(30), pytest.raises(DeadlineExceeded) as raised:
        one(wrapper, "SELECT pg_sleep(10)")
    assert raised.value.extensions == {"code": "TIMEOUT", "layer": "database", "limit": 0.3}
    assert isinstance(raised.value.__cause__.__cause__, psycopg.errors.QueryCanceled)
    with under(30):
        assert one(wrapper, "SELECT 1") == (1,)


def test_the_error_names_the_outer_layer_when_its_limit_is_shorter(wrapper, one, configure):
    configure("timeouts", min_database_budget=0.1)
    with under(0.4, "graphql"), pytest.raises(DeadlineExceeded) as raised:
        one(wrapper, "SELECT pg_sleep(10)")
    assert (raised.value.layer, raised.value.limit) == ("graphql", 0.4)


def test_a_timeout_in_a_transaction_can_be_rolled_back(wrapper, one, configure):
    configure("timeouts", database=0.3)
    with under(30):
        with pytest.raises(DeadlineExceeded), transaction.atomic(using=wrapper.alias):
            one(wrapper, "SELECT pg_sleep(10)")
        assert one(wrapper, "SELECT 1") == (1,)


def test_a_statement_cancelled_by_an_operator_is_not_a_timeout(wrapper, one, other):
    with under(30):
        pid = one(wrapper, "SELECT pg_backend_pid()")[0]
        cancel = f"SELECT pg_cancel_backend({pid}), pg_sleep(10)"
        with pytest.raises(OperationalError, match="user request") as raised:
            one(wrapper, cancel)
    assert not isinstance(raised.value, DeadlineExceeded)
    assert other.execute("SELECT 1").fetchone() == (1,)


def test_too_little_time_never_reaches_the_database(proxied, proxy, one):
    with under(30):
        one(proxied, "SELECT 1")
    before = proxy.round_trips
    with short_of(0.5), pytest.raises(InsufficientTime, match="Insufficient time remaining"):
        one(proxied, "SELECT 1")
    assert proxy.round_trips == before


def test_too_little_time_does_not_take_a_connection(wrapper, one):
    with short_of(0.5), pytest.raises(InsufficientTime):
        one(wrapper, "SELECT 1")
    assert wrapper.connection is None


def test_a_short_limit_has_a_shorter_minimum(wrapper, one):
    with under(0.5):
        assert milliseconds(one(wrapper, LIMIT)[0]) <= 500


def test_savepoints_end_properly_when_the_time_is_up(wrapper, one):
    one(wrapper, "CREATE TEMPORARY TABLE kept (id int)")
    with transaction.atomic(using=wrapper.alias):
        one(wrapper, "INSERT INTO kept VALUES (1)")
        inner = transaction.atomic(using=wrapper.alias)
        inner.__enter__()
        one(wrapper, "INSERT INTO kept VALUES (2)")
        with under(0):
            inner.__exit__(ZeroDivisionError, ZeroDivisionError(), None)
    assert one(wrapper, "SELECT array_agg(id) FROM kept") == ([1],)


def test_transactions_end_properly_when_the_time_is_up(wrapper, one):
    one(wrapper, "CREATE TEMPORARY TABLE kept (id int)")
    for number, error in ((1, None), (2, ZeroDivisionError)):
        outer = transaction.atomic(using=wrapper.alias)
        outer.__enter__()
        one(wrapper, "INSERT INTO kept VALUES (%s)", [number])
        with under(0):
            outer.__exit__(error, error and error(), None)
    assert one(wrapper, "SELECT array_agg(id) FROM kept") == ([1],)


def test_query_with_timeout_is_bounded_by_its_own_limit(wrapper):
    with pytest.raises(DeadlineExceeded) as raised:
        query_with_timeout("SELECT pg_sleep(%s)", [10], 0.3, using=wrapper.alias)
    assert (raised.value.layer, raised.value.limit) == ("database", 0.3)


def test_query_with_timeout_in_a_request(wrapper, one):
    with under(30):
        rows = query_with_timeout(LIMIT + ", %s", [5], 2.0, using=wrapper.alias)
        assert milliseconds(rows[0][0]) <= 2_000
        assert rows[0][1] == 5
        assert query_with_timeout("SET TIME ZONE 'UTC'", None, 2.0, using=wrapper.alias) == []
    context = TimeoutContext.start("database", 0.3)
    assert query_with_timeout("SELECT 1", None, context, using=wrapper.alias) == [(1,)]
    with short_of(0.5), pytest.raises(InsufficientTime):
        query_with_timeout("SELECT 1", None, 5.0, using=wrapper.alias)


@pytest.mark.blocks("a statement that the server does not answer", at_least=0.3, within=5)
def test_a_statement_to_a_silent_server_ends(proxied, proxy, one, configure):
    with under(30):
        one(proxied, "SELECT 1")
    proxy.freeze()
    configure("timeouts", database=0.3)
    with under(30), pytest.raises(DeadlineExceeded):
        one(proxied, "SELECT 1")
    assert proxied.connection is None
    proxy.flowing.set()
    with under(30):
        assert one(proxied, "SELECT 2") == (2,)


def copy_out(cursor):
    with cursor.copy("COPY (SELECT 1) TO STDOUT") as copy:
        return list(copy)


def send_many(cursor):
    cursor.executemany("SELECT %s", [(1,), (2,)])


@pytest.mark.blocks("COPY, many at once", at_least=0.3, within=5)
@pytest.mark.parametrize("send", [copy_out, send_many])
def test_copy_and_executemany_to_a_silent_server_end(proxied, proxy, configure, send):
    configure("timeouts", database=0.3)
    with under(30), proxied.cursor() as cursor:
        cursor.execute("SELECT 1")
        proxy.freeze()
        with pytest.raises(DeadlineExceeded):
            send(cursor)


@pytest.mark.blocks("a stream of rows", at_least=0.3, within=5)
def test_a_stream_of_rows_is_one_statement_with_one_limit(wrapper, one, configure):
    configure("timeouts", database=0.3)
    sql = "SELECT n, pg_sleep(n) FROM generate_series(0, 60, 30) AS n"
    with under(30), wrapper.cursor() as cursor:
        with pytest.raises(DeadlineExceeded):
            list(cursor.stream(sql))
        assert one(wrapper, "SELECT 1") == (1,)


def test_iterators_in_a_request_run_under_its_budget(wrapper, one):
    with under(5), wrapper.chunked_cursor() as cursor:
        assert not isinstance(cursor.cursor, psycopg.ServerCursor)
        cursor.execute(LIMIT)
        assert milliseconds(cursor.fetchone()[0]) < 5_000
    with transaction.atomic(using=wrapper.alias), wrapper.chunked_cursor() as cursor:
        cursor.execute(LIMIT)
        assert cursor.fetchone() == ("0",)


def test_djangos_log_shows_the_statement_without_the_limit(wrapper, one):
    with under(5), CaptureQueriesContext(wrapper) as captured:
        one(wrapper, "SELECT %s", [7])
    assert [entry["sql"] for entry in captured.captured_queries] == ["SELECT 7"]
