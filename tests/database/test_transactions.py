"""Transactions are retried when nothing was committed, and in no other case."""

from threading import Barrier, Thread

import pytest
from django.db import IntegrityError, connections, transaction
from psycopg import IsolationLevel, OperationalError

from pcf.database import transactions
from pcf.database.retry import idempotent_reads
from pcf.database.transactions import run_transaction
from pcf.errors import ConnectionLost, DatabaseUnavailable, OutcomeUnknown, OutOfResources
from pcf.observability import metrics
from pcf.timeouts import TimeoutContext, activate
from tests.database.conftest import value_of


def under(seconds):
    return activate(TimeoutContext.start("http", seconds))


@pytest.fixture
def retried():
    """``retried()``: the number of retries since the test began, by reason."""

    def count():
        reasons = metrics.RETRY_REASONS
        return {reason: value_of(metrics.db_retries.labels(reason)) for reason in reasons}

    before = count()
    return lambda: {r: n - before[r] for r, n in count().items() if n != before[r]}


@pytest.fixture
def accounts(other):
    """A table with two rows that every connection sees."""
    other.execute("DROP TABLE IF EXISTS accounts")
    other.execute("CREATE TABLE accounts (id int PRIMARY KEY, amount int)")
    other.execute("INSERT INTO accounts VALUES (1, 0), (2, 0)")
    # FOR UPDATE waits for transactions that the server has not ended yet
    amounts = "SELECT amount FROM accounts ORDER BY id FOR UPDATE"
    yield lambda: [row[0] for row in other.execute(amounts)]
    other.execute("DROP TABLE accounts")


@pytest.fixture
def sharing(make_wrapper):
    """``sharing(**options)``: an alias that every thread knows, with connections for two."""
    aliases = []

    def make(**options):
        wrapper = make_wrapper(pool={"min_size": 1, "max_size": 2}, options=options)
        connections.settings[wrapper.alias] = wrapper.settings_dict
        aliases.append(wrapper.alias)
        return wrapper.alias

    yield make
    for alias in aliases:
        del connections.settings[alias]


def both(alias, *functions):
    """Run two functions as transactions in separate threads; return their results or errors."""
    outcomes = [None, None]

    def run(index):
        try:
            with under(30):
                outcomes[index] = run_transaction(functions[index], using=alias)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            outcomes[index] = error
        finally:
            connections[alias].close()

    threads = [Thread(target=run, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def add(alias, row):
    with connections[alias].cursor() as cursor:
        cursor.execute("UPDATE accounts SET amount = amount + 1 WHERE id = %s", [row])


def test_a_deadlock_retries_one_of_the_transactions(sharing, accounts, retried):
    alias, barrier, runs = sharing(), Barrier(2), []

    def lock(first, second):
        runs.append(first)
        add(alias, first)
        if len(runs) <= 2:
            barrier.wait(20)  # both hold their first row
        add(alias, second)
        return first

    assert both(alias, lambda: lock(1, 2), lambda: lock(2, 1)) == [1, 2]
    assert accounts() == [2, 2]
    assert len(runs) == 3
    assert retried() == {"deadlock_detected": 1}


def test_a_serialization_failure_is_retried(sharing, accounts, retried):
    alias = sharing(isolation_level=IsolationLevel.SERIALIZABLE)
    barrier, runs = Barrier(2), []

    def write_skew(row):
        runs.append(row)
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT sum(amount) FROM accounts")
            total = cursor.fetchone()[0]
            if len(runs) <= 2:
                barrier.wait(20)  # both have read
            cursor.execute("UPDATE accounts SET amount = %s WHERE id = %s", [total + 1, row])

    assert both(alias, lambda: write_skew(1), lambda: write_skew(2)) == [None, None]
    assert sorted(accounts()) == [1, 2]  # as after two transactions in sequence
    assert retried() == {"serialization_failure": 1}


def test_a_connection_lost_before_commit_is_retried(proxied, proxy, accounts, one, retried):
    runs = []

    def write():
        runs.append(one(proxied, "UPDATE accounts SET amount = amount + 1 RETURNING amount"))
        if len(runs) == 1:
            proxy.cut()
        return one(proxied, "SELECT 7")

    with under(30):
        assert run_transaction(write, using=proxied.alias) == (7,)
    assert accounts() == [1, 1]
    assert runs == [(1,), (1,)]
    assert retried() == {"connection_lost": 1}


def test_a_loss_noticed_just_before_commit_is_retried(proxied, proxy, accounts, one, retried):
    runs = []

    def write():
        runs.append(one(proxied, "UPDATE accounts SET amount = amount + 1 RETURNING amount"))
        if len(runs) == 1:
            proxy.cut()
            while not proxied.connection.is_lost():
                pass

    with under(30):
        run_transaction(write, using=proxied.alias)
    assert accounts() == [1, 1]
    assert retried() == {"connection_lost": 1}


@pytest.mark.parametrize("reaches", [True, False])
def test_a_loss_after_commit_was_sent_is_never_retried(
    proxied, proxy, accounts, one, retried, reaches
):
    """The client cannot distinguish a COMMIT that arrived from one that did not."""
    runs = []

    def write():
        runs.append(one(proxied, "UPDATE accounts SET amount = amount + 1 RETURNING amount"))
        proxy.cut_at_commit(reaches=reaches)

    with under(30):
        with pytest.raises(OutcomeUnknown) as raised:
            run_transaction(write, using=proxied.alias)
        assert raised.value.extensions == {"code": "OUTCOME_UNKNOWN"}
        assert one(proxied, "SELECT 1") == (1,)
    assert accounts() == ([1, 1] if reaches else [0, 0])
    assert len(runs) == 1
    assert retried() == {}


def test_the_outcome_stays_unknown_when_the_server_is_away_afterwards(
    proxied, proxy, accounts, one, configure
):
    proxied.pool.timeout = 0.2

    def write():
        one(proxied, "UPDATE accounts SET amount = amount + 1 RETURNING amount")
        proxy.cut_at_commit(reaches=True)
        proxy.refusing = True

    with under(30), pytest.raises(OutcomeUnknown):
        run_transaction(write, using=proxied.alias)
    assert accounts() == [1, 1]


@pytest.mark.blocks("COMMIT, ROLLBACK, savepoints", at_least=0.1, within=5)
def test_a_commit_without_an_answer_ends(proxied, proxy, accounts, one, configure, monkeypatch):
    monkeypatch.setattr("pcf.database.connection.TRANSACTION_CONTROL", 0.1)
    configure("timeouts", min_database_budget=0.1)

    def write():
        one(proxied, "UPDATE accounts SET amount = amount + 1 RETURNING amount")

    proxy.freezes_at_commit = True
    with under(0.6), pytest.raises(OutcomeUnknown):
        run_transaction(write, using=proxied.alias)
    proxy.freezes_at_commit = False
    proxy.flowing.set()
    with under(30):
        assert one(proxied, "SELECT 1") == (1,)


def test_an_error_after_the_commit_is_not_retried(wrapper, accounts, one, retried):
    def write():
        one(wrapper, "UPDATE accounts SET amount = amount + 1 RETURNING amount")
        transaction.on_commit(fail, using=wrapper.alias)

    def fail():
        raise ConnectionLost

    with under(30), pytest.raises(ConnectionLost):
        run_transaction(write, using=wrapper.alias)
    assert accounts() == [1, 1]
    assert retried() == {}


def test_other_errors_are_not_retried(wrapper, accounts, one, retried):
    runs = []

    def write():
        runs.append(1)
        one(wrapper, "INSERT INTO accounts VALUES (1, 1)")

    with under(30), pytest.raises(IntegrityError):
        run_transaction(write, using=wrapper.alias)
    assert (len(runs), retried()) == (1, {})


def test_inside_a_transaction_nothing_is_retried(proxied, proxy, one, retried):
    runs = []

    def read():
        runs.append(1)
        proxy.cut()
        one(proxied, "SELECT 1")

    with under(30), pytest.raises(DatabaseUnavailable), transaction.atomic(using=proxied.alias):
        run_transaction(read, using=proxied.alias)
    assert (len(runs), retried()) == (1, {})


def test_the_number_of_retries_is_bounded(wrapper, one, retried, other, configure):
    configure("database", retry_attempts=2, backoff_initial=0.001)
    runs, undone = [], []

    def lose():
        runs.append(1)
        pid = one(wrapper, "SELECT pg_backend_pid()")[0]
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        one(wrapper, "SELECT 1")

    with under(30), pytest.raises(ConnectionLost):
        run_transaction(lose, using=wrapper.alias, before_retry=lambda: undone.append(1))
    assert (len(runs), len(undone)) == (3, 2)
    assert retried() == {"admin_shutdown": 2}


def test_a_connection_lost_in_a_commit_hook_has_committed_nothing(
    wrapper, accounts, other, monkeypatch, retried
):
    """The server ends the session in a commit hook, once; the transaction is retried."""
    calls = []

    def hook(connection):
        calls.append(connection)
        if len(calls) == 1:
            pid = connection.connection.info.backend_pid
            other.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])
            connection.connection.execute("SELECT 1")

    monkeypatch.setattr(transactions, "_hooks", [hook])

    def book():
        with wrapper.cursor() as cursor:
            cursor.execute("UPDATE accounts SET amount = amount + 1 WHERE id = 1")

    with under(30):
        run_transaction(book, using=wrapper.alias)
    assert accounts() == [1, 0]
    assert len(calls) == 2
    assert sum(retried().values()) == 1


@pytest.mark.parametrize("state", ["53100", "58030"])
def test_a_commit_without_disk_space_is_unavailable(wrapper, accounts, other, state):
    other.execute(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$"
        f" BEGIN RAISE EXCEPTION 'no space' USING ERRCODE = '{state}'; END $$"
    )
    other.execute(
        "CREATE CONSTRAINT TRIGGER full_disk AFTER UPDATE ON accounts"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION full_disk()"
    )
    try:
        with (
            under(30),
            pytest.raises(OutOfResources),
            transaction.atomic(using=wrapper.alias),
            wrapper.cursor() as cursor,
        ):
            cursor.execute("UPDATE accounts SET amount = 1")
        assert accounts() == [0, 0]
    finally:
        other.execute("DROP FUNCTION full_disk CASCADE")


def lose(wrapper, other):
    """End the session on the server's side, and have the client notice."""
    other.execute("SELECT pg_terminate_backend(%s, 10000)", [wrapper.connection.info.backend_pid])
    with pytest.raises(OperationalError):
        wrapper.connection.execute("SELECT 1")


def test_a_connection_lost_after_the_commit_is_no_failure(
    wrapper, accounts, other, monkeypatch, one
):
    def hook(connection):
        return lambda _outcome: lose(connection, other)

    monkeypatch.setattr(transactions, "_hooks", [hook])
    hooks = []
    with under(30):
        with transaction.atomic(using=wrapper.alias):
            one(wrapper, "UPDATE accounts SET amount = 1")
            transaction.on_commit(lambda: hooks.append("ran"), using=wrapper.alias)
        monkeypatch.setattr(transactions, "_hooks", [])
        assert hooks == ["ran"]
        assert accounts() == [1, 1]
        with idempotent_reads():
            assert one(wrapper, "SELECT amount FROM accounts WHERE id = 1") == (1,)


def test_a_transaction_that_begins_on_a_lost_connection_takes_another(wrapper, other, one):
    with under(30):
        one(wrapper, "SELECT 1")
        lose(wrapper, other)
        with transaction.atomic(using=wrapper.alias):
            assert one(wrapper, "SELECT 1") == (1,)
