"""Whole transactions: repeated where nothing was committed, and nowhere else."""

from threading import Barrier, Thread

import pytest
from django.db import IntegrityError, connections, transaction
from psycopg import IsolationLevel, OperationalError

from pcf import metrics
from pcf.database import commits
from pcf.database.errors import ConnectionLost, DatabaseUnavailable, OutcomeUnknown, OutOfResources
from pcf.database.retry import REASONS, idempotent_reads
from pcf.database.transactions import run_transaction
from pcf.timeouts import TimeoutContext, activate


def under(seconds):
    return activate(TimeoutContext.start("http", seconds))


@pytest.fixture
def repeated():
    """``repeated()``: how often something was repeated since the test began, by reason."""

    def count():
        return {reason: metrics.db_retries.labels(reason)._value.get() for reason in REASONS}

    before = count()
    return lambda: {r: n - before[r] for r, n in count().items() if n != before[r]}


@pytest.fixture
def accounts(other):
    """A table with two rows that every connection sees."""
    other.execute("DROP TABLE IF EXISTS accounts")
    other.execute("CREATE TABLE accounts (id int PRIMARY KEY, amount int)")
    other.execute("INSERT INTO accounts VALUES (1, 0), (2, 0)")
    # waits for transactions whose end the server still has to see
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
    """Run the functions as transactions in threads of their own; what each made of it."""
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


def test_one_of_two_that_wait_for_each_other_is_repeated(sharing, accounts, repeated):
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
    assert repeated() == {"deadlock_detected": 1}


def test_what_could_not_be_serialized_is_repeated(sharing, accounts, repeated):
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
    assert sorted(accounts()) == [1, 2]  # as if one had come after the other
    assert repeated() == {"serialization_failure": 1}


def test_a_connection_lost_before_commit_costs_a_repetition(
    proxied, proxy, accounts, one, repeated
):
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
    assert repeated() == {"connection_lost": 1}


def test_a_loss_that_is_noticed_just_before_commit_is_one_before_it(
    proxied, proxy, accounts, one, repeated
):
    runs = []

    def write():
        runs.append(one(proxied, "UPDATE accounts SET amount = amount + 1 RETURNING amount"))
        if len(runs) == 1:
            proxy.cut()
            while not proxied.connection.lost():
                pass

    with under(30):
        run_transaction(write, using=proxied.alias)
    assert accounts() == [1, 1]
    assert repeated() == {"connection_lost": 1}


@pytest.mark.parametrize("reaches", [True, False])
def test_a_loss_after_commit_was_sent_is_never_repeated(
    proxied, proxy, accounts, one, repeated, reaches
):
    """Whether the COMMIT reached the server or not, the client cannot tell."""
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
    assert repeated() == {}


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


@pytest.mark.blocks("COMMIT, ROLLBACK, savepoints")
def test_a_commit_that_is_not_answered_is_given_up(
    proxied, proxy, accounts, one, configure, monkeypatch
):
    monkeypatch.setattr("pcf.database.connection.HOUSEKEEPING", 0.1)
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


def test_what_fails_after_the_commit_is_not_repeated(wrapper, accounts, one, repeated):
    def write():
        one(wrapper, "UPDATE accounts SET amount = amount + 1 RETURNING amount")
        transaction.on_commit(fail, using=wrapper.alias)

    def fail():
        raise ConnectionLost

    with under(30), pytest.raises(ConnectionLost):
        run_transaction(write, using=wrapper.alias)
    assert accounts() == [1, 1]
    assert repeated() == {}


def test_other_errors_are_not_repeated(wrapper, accounts, one, repeated):
    runs = []

    def write():
        runs.append(1)
        one(wrapper, "INSERT INTO accounts VALUES (1, 1)")

    with under(30), pytest.raises(IntegrityError):
        run_transaction(write, using=wrapper.alias)
    assert (len(runs), repeated()) == (1, {})


def test_inside_a_transaction_nothing_is_repeated(proxied, proxy, one, repeated):
    runs = []

    def read():
        runs.append(1)
        proxy.cut()
        one(proxied, "SELECT 1")

    with under(30), pytest.raises(DatabaseUnavailable), transaction.atomic(using=proxied.alias):
        run_transaction(read, using=proxied.alias)
    assert (len(runs), repeated()) == (1, {})


def test_repetitions_have_an_end(wrapper, one, repeated, other, configure):
    configure("database", retry_attempts=2, backoff_initial=0.001)
    runs, undone = [], []

    def lose():
        runs.append(1)
        pid = one(wrapper, "SELECT pg_backend_pid()")[0]
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        one(wrapper, "SELECT 1")

    with under(30), pytest.raises(ConnectionLost):
        run_transaction(lose, using=wrapper.alias, before_repetition=lambda: undone.append(1))
    assert (len(runs), len(undone)) == (3, 2)
    assert repeated() == {"admin_shutdown": 2}


def test_a_connection_lost_while_a_commit_is_prepared_has_committed_nothing(
    wrapper, accounts, other, monkeypatch, repeated
):
    """The server hangs up when the guards ask it something, once; the transaction is repeated."""
    calls = []

    def guard(connection):
        calls.append(connection)
        if len(calls) == 1:
            pid = connection.connection.info.backend_pid
            other.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])
            connection.connection.execute("SELECT 1")

    monkeypatch.setattr(commits, "_guards", [guard])

    def book():
        with wrapper.cursor() as cursor:
            cursor.execute("UPDATE accounts SET amount = amount + 1 WHERE id = 1")

    with under(30):
        run_transaction(book, using=wrapper.alias)
    assert accounts() == [1, 0]
    assert len(calls) == 2
    assert sum(repeated().values()) == 1


@pytest.mark.parametrize("state", ["53100", "58030"])
def test_a_commit_that_fails_for_want_of_space_is_unavailable(wrapper, accounts, other, state):
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
    """The server hangs up, and the client has noticed."""
    other.execute("SELECT pg_terminate_backend(%s, 10000)", [wrapper.connection.info.backend_pid])
    with pytest.raises(OperationalError):
        wrapper.connection.execute("SELECT 1")


def test_a_connection_lost_right_after_the_commit_does_not_make_it_a_failure(
    wrapper, accounts, other, monkeypatch, one
):
    def guard(connection):
        return lambda _outcome: lose(connection, other)

    monkeypatch.setattr(commits, "_guards", [guard])
    hooks = []
    with under(30):
        with transaction.atomic(using=wrapper.alias):
            one(wrapper, "UPDATE accounts SET amount = 1")
            transaction.on_commit(lambda: hooks.append("ran"), using=wrapper.alias)
        monkeypatch.setattr(commits, "_guards", [])
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
