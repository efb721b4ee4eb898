"""Lost connections: which statements are retried, and the errors of the others."""

import pytest
from django.db import OperationalError, transaction

from pcf.database.query_log import count_queries
from pcf.database.retry import Backoff, idempotent_reads, may_retry
from pcf.errors import ConnectionLost, DatabaseUnavailable, OutOfResources
from pcf.observability import metrics
from pcf.timeouts import DeadlineExceeded, TimeoutContext, activate
from tests.database.conftest import value_of


def under(seconds):
    return activate(TimeoutContext.start("http", seconds))


def retries():
    return sum(value_of(metrics.db_retries.labels(reason)) for reason in metrics.RETRY_REASONS)


@pytest.fixture
def terminate(other, one):
    """End the backend of a wrapper's connection, as an administrator would."""

    def run(wrapper):
        pid = one(wrapper, "SELECT pg_backend_pid()")[0]
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        return pid

    return run


def test_an_idempotent_read_is_retried_on_a_new_connection(wrapper, one, terminate):
    with under(30), idempotent_reads():
        pid = terminate(wrapper)
        before = retries()
        with count_queries() as log:
            assert one(wrapper, "SELECT 1") == (1,)
        assert one(wrapper, "SELECT pg_backend_pid()")[0] != pid
    assert retries() == before + 1
    assert log.count == 2


def test_a_read_interrupted_in_the_middle_is_retried(wrapper, one, other):
    other.execute("CREATE TABLE IF NOT EXISTS interrupted (id int)")
    other.execute("TRUNCATE interrupted")
    # the function ends its own backend, but only while the table is empty
    other.execute(
        "CREATE OR REPLACE FUNCTION interrupt_once() RETURNS int LANGUAGE plpgsql AS $$ BEGIN"
        " IF NOT EXISTS (SELECT FROM interrupted) THEN"
        " PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(5); END IF;"
        " RETURN 7; END $$"
    )
    with under(30), idempotent_reads():
        with pytest.raises(ConnectionLost):
            one(wrapper, "SELECT interrupt_once()")
        other.execute("INSERT INTO interrupted VALUES (1)")
        assert one(wrapper, "SELECT interrupt_once()") == (7,)
    other.execute("DROP FUNCTION interrupt_once()")
    other.execute("DROP TABLE interrupted")


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE pg_description SET description = 'x' WHERE false",
        "SELECT 1 FROM pg_class LIMIT 1 FOR UPDATE",
        "SELECT nextval('x')",
    ],
)
def test_a_statement_that_may_write_is_never_retried(wrapper, one, terminate, sql):
    with under(30), idempotent_reads():
        terminate(wrapper)
        before = retries()
        with pytest.raises(ConnectionLost) as raised:
            one(wrapper, sql)
        assert raised.value.extensions == {"code": "SERVICE_UNAVAILABLE"}
        assert isinstance(raised.value, OperationalError)
        assert retries() == before
        assert one(wrapper, "SELECT 1") == (1,)


def test_an_undeclared_read_is_not_retried_but_the_next_statement_works(wrapper, one, terminate):
    with under(30):
        terminate(wrapper)
        with pytest.raises(ConnectionLost):
            one(wrapper, "SELECT 1")
        assert one(wrapper, "SELECT 1") == (1,)


def test_outside_a_request_djangos_error_is_raised(wrapper, one, terminate):
    terminate(wrapper)
    with pytest.raises(OperationalError) as raised:
        one(wrapper, "SELECT 1")
    assert not isinstance(raised.value, ConnectionLost)


def test_nothing_is_retried_inside_a_transaction(wrapper, one, terminate):
    before = retries()
    with under(30), idempotent_reads():
        with transaction.atomic(using=wrapper.alias):
            terminate(wrapper)
            with pytest.raises(ConnectionLost):
                one(wrapper, "SELECT 1")
            wrapper.set_rollback(True)
        assert retries() == before
        assert one(wrapper, "SELECT 1") == (1,)


def test_copy_on_a_lost_connection_raises_connection_lost(wrapper, one, terminate):
    with under(30), wrapper.cursor() as cursor:
        terminate(wrapper)
        with pytest.raises(ConnectionLost), cursor.copy("COPY (SELECT 1) TO STDOUT") as copy:
            list(copy)
        assert one(wrapper, "SELECT 1") == (1,)


def test_retries_end_with_the_deadline(proxied, proxy, one, configure):
    configure("timeouts", min_database_budget=0.01)
    configure("database", retry_attempts=1_000, backoff_initial=0.01, backoff_max=0.05)
    with under(0.6), idempotent_reads():
        one(proxied, "SELECT 1")
        proxy.refusing = True
        proxy.cut()
        with pytest.raises((DeadlineExceeded, DatabaseUnavailable)):
            one(proxied, "SELECT 1")


def test_a_retry_waits_for_a_server_that_comes_back_in_time(proxied, proxy, one):
    with under(30), idempotent_reads():
        one(proxied, "SELECT 1")
        proxy.refusing = True
        proxy.cut()
        refused = []
        original = proxied.pool._retry_connecting

        def recover(pool):
            refused.append(pool)
            proxy.refusing = False
            original(pool)

        proxied.pool._reconnect_failed = recover
        assert one(proxied, "SELECT 3") == (3,)
        assert refused


def test_backoff_grows_to_its_maximum_and_jitters_fully():
    bounds = []

    def jitter(low, high):
        bounds.append((low, high))
        return high

    policy = Backoff(initial=0.1, maximum=0.5, attempts=4, jitter=jitter, sleep=bounds.append)
    assert list(policy.retries(None)) == [0, 1, 2, 3]
    assert bounds == [(0.0, 0.1), 0.1, (0.0, 0.2), 0.2, (0.0, 0.4), 0.4, (0.0, 0.5), 0.5]


@pytest.mark.blocks("a pause before a repetition", at_least=0.4, within=1.5)
def test_delays_end_before_the_deadline():
    policy = Backoff(initial=0.2, maximum=0.2, attempts=1_000, jitter=max)
    assert 1 <= len(list(policy.retries(TimeoutContext.start("http", 0.8)))) <= 4


def test_backoff_does_not_sleep_past_the_deadline():
    slept = []
    policy = Backoff(initial=5, maximum=5, attempts=3, jitter=max, sleep=slept.append)
    assert list(policy.retries(TimeoutContext.start("http", 1))) == []
    assert slept == []


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 1", True),
        ("  (SELECT 1) UNION (SELECT 2)", True),
        ("WITH a AS (SELECT 1) SELECT * FROM a", True),
        ('SELECT "updated_at" FROM notes_note', True),
        ("SELECT 1; DELETE FROM a", False),
        ("WITH a AS (DELETE FROM b RETURNING 1) SELECT * FROM a", False),
        ("SELECT * FROM a FOR NO KEY UPDATE", False),
        ("SELECT * FROM a FOR SHARE", False),
        ("SELECT * INTO b FROM a", False),
        ("SELECT pg_advisory_lock(1)", False),
        ("SELECT set_config('a.b', 'c', false)", False),
        ("INSERT INTO a VALUES (1)", False),
        ("EXPLAIN ANALYZE DELETE FROM a", False),
    ],
)
def test_may_retry_accepts_plain_reads_alone(sql, expected):
    with idempotent_reads():
        assert may_retry(sql) is expected
    assert may_retry(sql) is False


@pytest.mark.parametrize("state", ["53100", "53200", "58030"])
def test_a_lack_of_resources_is_unavailable_and_keeps_the_connection(wrapper, one, state):
    sql = f"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{state}'; END $$"
    with under(30), pytest.raises(OutOfResources):
        one(wrapper, sql)
    assert one(wrapper, "SELECT 1") == (1,)
    with pytest.raises(OperationalError) as outside:
        one(wrapper, sql)
    assert not isinstance(outside.value, DatabaseUnavailable)
