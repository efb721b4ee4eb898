"""The checks of replicas, and the routing to them. tests/chaos has real replication."""

import threading
from contextlib import contextmanager

import pytest
from django.db import DatabaseError, connections

from notes.models import Note
from pcf.database import replicas
from pcf.database.connection import StatementOverdue
from pcf.database.query_log import count_queries
from pcf.database.replicas import (
    IN_USE,
    LAGGING,
    PRIMARY,
    PROMOTED,
    UNREACHABLE,
    PositionProbe,
    PrimaryHistory,
    Replica,
    ReplicaRouter,
    Replicas,
    read_alias,
    read_from,
)
from pcf.database.statements import query_with_timeout
from pcf.execution.paging import OuterKey, for_each
from tests.chaos.servers import wait_for

HERE = "SELECT 5000"  # a replica's position


class NoTables(Exception):
    """A statement reached the expected wrapper."""


def refuse(*_arguments):
    raise NoTables


@contextmanager
def known_to_all_threads(wrapper):
    connections.settings[wrapper.alias] = wrapper.settings_dict
    yield wrapper
    del connections.settings[wrapper.alias]


@pytest.fixture
def made_replica(make_wrapper):
    """A wrapper marked as a replica; it reaches the test database."""
    with known_to_all_threads(make_wrapper(options={"replica": True})) as wrapper:
        yield wrapper


@pytest.fixture
def through_proxy(make_wrapper, proxy):
    options = {"sslmode": "disable", "replica": True}
    made = make_wrapper(HOST="127.0.0.1", PORT=proxy.port, options=options)
    with known_to_all_threads(made) as wrapper:
        yield wrapper
        proxy.flowing.set()
        wrapper.close()


def test_the_lag_is_the_age_of_the_first_missing_position():
    history = PrimaryHistory(10)
    assert history.lag(7, 100.0) == (0.0, 0)
    history.add(1_000, 100.0)
    history.add(2_000, 101.0)
    history.add(2_000, 109.0)  # nothing was written meanwhile
    assert history.lag(2_000, 110.0) == (0.0, 0)
    assert history.lag(2_500, 110.0) == (0.0, 0)
    assert history.lag(1_000, 110.0) == (9.0, 1_000)
    assert history.lag(999, 110.0) == (10.0, 1_001)


def test_reads_follow_the_block_and_writes_use_the_primary(made_replica):
    router = ReplicaRouter()
    with read_from(made_replica.alias):
        assert Note.objects.all().db == made_replica.alias
        assert router.db_for_write(Note) == PRIMARY
        assert read_alias() == made_replica.alias
    assert Note.objects.all().db == PRIMARY
    assert router.allow_migrate(PRIMARY, "notes")
    assert not router.allow_migrate(made_replica.alias, "notes")
    assert router.allow_relation(None, None)


def test_lists_and_plain_sql_follow_the_block(made_replica):
    queryset = Note.objects.filter(author_id=OuterKey()).order_by("id")[:3]
    with read_from(made_replica.alias), count_queries() as log:
        with pytest.raises(NoTables), made_replica.execute_wrapper(refuse):
            list(for_each(queryset, [1, 2], read_alias()))
        query_with_timeout("SELECT 1", None, 5)
    assert log.count == 1
    assert made_replica.pool.get_stats()["requests_num"] == 1


@pytest.fixture
def answering(made_replica):
    """A replica that answers a check with the row of ``sql``."""

    def check(sql, history):
        replica = Replica(made_replica.alias)
        probe = PositionProbe(made_replica.alias, sql)
        replica.check(probe, history)
        probe.close()
        return replica

    return check


def test_a_check_sets_the_state(answering, configure):
    configure("replicas", max_lag_bytes=100)
    history = PrimaryHistory(10)
    replica = answering(HERE, history)
    assert (replica.state, replica.position) == (IN_USE, 5_000)
    history.add(5_100, replicas.monotonic())
    assert answering(HERE, history).state == IN_USE
    history.add(5_101, replicas.monotonic())
    assert answering(HERE, history).state == LAGGING
    assert answering("SELECT NULL::bigint", history).state == PROMOTED
    assert answering("SELECT 1/0", history).state == UNREACHABLE


def test_a_replica_that_is_too_late_in_seconds_is_lagging(answering, configure):
    configure("replicas", max_lag=3.0)
    history = PrimaryHistory(10)
    history.add(6_000, replicas.monotonic() - 2.0)
    assert answering(HERE, history).state == IN_USE
    history = PrimaryHistory(10)
    history.add(6_000, replicas.monotonic() - 4.0)
    assert answering(HERE, history).state == LAGGING


def test_an_old_check_makes_a_replica_unusable(answering, configure):
    replica = answering(HERE, PrimaryHistory(10))
    assert replica.usable(replicas.monotonic())
    assert not replica.usable(replicas.monotonic() + 5.0)


def test_a_failed_replica_is_left_out_until_the_next_check(made_replica):
    replica = Replica(made_replica.alias)
    probe = PositionProbe(made_replica.alias, HERE)
    replica.check(probe, PrimaryHistory(10))
    replica.report_failure()
    assert not replica.usable(replicas.monotonic())
    replica.check(probe, PrimaryHistory(10))
    assert replica.usable(replicas.monotonic())
    probe.close()


def test_the_check_of_a_frozen_replica_ends_its_readers(through_proxy, proxy, configure):
    """A reader waits for a frozen server; the check ends its connection."""
    configure("replicas", check_timeout=0.6)
    alias = through_proxy.alias
    replica = Replica(alias)
    probe = PositionProbe(alias, HERE)
    replica.check(probe, PrimaryHistory(10))
    assert replica.state == IN_USE
    failures = []
    reading = threading.Event()

    def read():
        wrapper = connections.create_connection(alias)
        with wrapper.cursor() as cursor:
            reading.set()
            try:
                cursor.execute("SELECT 1")
            except DatabaseError as error:
                failures.append(error)
        wrapper.close()

    through_proxy.pool.open(wait=True)
    proxy.freeze()
    reader = threading.Thread(target=read)
    reader.start()
    assert reading.wait(30)
    wait_for("the reader is let go", lambda: replica.check(probe, PrimaryHistory(10)) or failures)
    reader.join()
    assert replica.state == UNREACHABLE
    assert failures
    probe.close()


def test_threads_check_and_end(made_replica, configure, monkeypatch):
    monkeypatch.setattr(replicas, "_REPLAYED", HERE)
    # the primary may be far ahead of the position that this replica claims
    configure("replicas", check_interval=0.01, max_lag=600.0, max_lag_bytes=2**60)
    watched = Replicas([made_replica.alias])
    looking, monitor = threading.Event(), Replicas._monitor

    def held_monitor(self, replica):
        looking.wait(10)
        monitor(self, replica)

    monkeypatch.setattr(Replicas, "_monitor", held_monitor)
    try:
        assert watched.pick() is None  # the first request does not wait for the first check
        looking.set()
        wait_for("the first check", watched.pick)
        assert watched.pick().alias == made_replica.alias
        assert watched.have_replayed(5_000)
        assert not watched.have_replayed(5_001)
    finally:
        watched.close()
    assert not any(thread.is_alive() for thread in watched._threads)


def test_without_replicas_no_thread_starts():
    nothing = Replicas([])
    assert nothing.pick() is None
    assert nothing._threads == []


def test_the_primary_probe_connects_again_after_a_restart(unblocked, other):
    probe = replicas.PrimaryProbe()
    first = probe.read()
    pid = probe._probe._connection.info.backend_pid
    other.execute("SELECT pg_terminate_backend(%s)", [pid])
    assert probe.read() >= first > 0
    assert probe._probe._connection.info.backend_pid != pid
    probe._probe.close()


def test_the_wait_for_the_primary_probe_is_bounded(unblocked, configure):
    configure("replicas", check_timeout=0.05)
    probe = replicas.PrimaryProbe()
    with probe._lock, pytest.raises(StatementOverdue):
        probe.read()


def test_a_primary_has_no_replayed_position(unblocked):
    assert replicas.replayed_position(PRIMARY) is None
