"""A pooler in transaction mode shares sessions, so a client must leave no setting in one."""

import uuid
from contextlib import ExitStack

import pytest
from django.db import connections, transaction

from pcf.timeouts import DeadlineExceeded, TimeoutContext, activate
from tests.database.transaction_pooler import TransactionPooler

LIMIT = "SELECT current_setting('statement_timeout')"
PID = "SELECT pg_backend_pid()"


def under(seconds):
    return activate(TimeoutContext.start("http", seconds))


@pytest.fixture
def pooled(unblocked, make_wrapper):
    """``pooled(size)``: two wrappers with separate connections to a pooler of ``size`` sessions."""
    params = connections["default"].get_connection_params()
    chosen = {
        key: params[key] for key in ("dbname", "user", "password", "host", "port") if key in params
    }
    with ExitStack() as stack:

        def make(size=1):
            pooler = stack.enter_context(TransactionPooler(chosen, size))
            options = {"sslmode": "disable", "gssencmode": "disable"}
            options["session_statement_timeout"] = False
            where = {"HOST": "127.0.0.1", "PORT": pooler.port, "options": options}
            return [make_wrapper(**where, DISABLE_SERVER_SIDE_CURSORS=True) for _ in range(2)]

        yield make


def test_a_limit_does_not_reach_the_next_user_of_the_session(pooled, one):
    first, second = pooled()
    with under(5):
        assert one(first, LIMIT) != ("0",)
        pid = one(first, PID)
    assert one(second, LIMIT) == ("0",)
    assert one(second, PID) == pid
    with under(30):
        assert one(second, LIMIT) == ("20s",)
    assert one(first, LIMIT) == ("0",)


def test_a_limit_in_a_transaction_ends_with_it(pooled, one):
    first, second = pooled()
    with under(5), transaction.atomic(using=first.alias):
        assert one(first, LIMIT) not in {("0",), ("20s",)}
    assert one(second, LIMIT) == ("0",)


def copy_out(cursor):
    with cursor.copy("COPY (SELECT current_setting('statement_timeout')) TO STDOUT") as copy:
        return b"".join(copy)


def copy_in(cursor):
    cursor.execute("CREATE TABLE IF NOT EXISTS pooled_copy (id int)")
    with cursor.copy("COPY pooled_copy FROM STDIN") as copy:
        copy.write("1\n")
    cursor.execute("DROP TABLE pooled_copy")


def send_many(cursor):
    cursor.executemany("SELECT %s", [(1,), (2,)])


@pytest.mark.parametrize("send", [copy_out, copy_in, send_many])
def test_a_statement_sent_alone_leaves_no_limit_either(pooled, one, send):
    first, second = pooled()
    with under(5), first.cursor() as cursor:
        send(cursor)
    assert one(second, LIMIT) == ("0",)


def test_a_statement_past_its_limit_ends_on_the_server(pooled, one, other, configure):
    first, second = pooled()
    configure("timeouts", database=0.3)
    with under(30), pytest.raises(DeadlineExceeded):
        one(first, "SELECT pg_sleep(60)")
    with under(30):
        assert one(second, "SELECT 1") == (1,)


def sleep_in_copy(cursor, name):
    with cursor.copy(f"COPY (SELECT pg_sleep(60), '{name}') TO STDOUT") as copy:
        list(copy)


def sleep_many(cursor, name):
    cursor.executemany("SELECT pg_sleep(60), %s", [(name,)])


@pytest.mark.parametrize("sleep", [sleep_in_copy, sleep_many])
def test_a_statement_without_a_limit_is_cancelled(
    pooled, one, configure, wait_for_end_of, sleep, monkeypatch
):
    monkeypatch.setattr("pcf.database.connection.CANCEL_WAIT", 10)
    first, second = pooled()
    configure("timeouts", database=0.3)
    name = f"sleeper-{uuid.uuid4()}"
    with under(30), pytest.raises(DeadlineExceeded), first.cursor() as cursor:
        sleep(cursor, name)
    wait_for_end_of(name)
    with under(30):
        assert one(second, "SELECT 1") == (1,)


def test_interleaved_transactions_on_fewer_sessions_than_clients(pooled, one):
    first, second = pooled(2)
    with under(30), transaction.atomic(using=first.alias):
        mine = one(first, PID)
        assert one(second, PID) != mine
        with transaction.atomic(using=second.alias):
            assert one(second, PID) != mine
        assert one(first, PID) == mine
