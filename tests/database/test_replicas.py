"""Watching replicas, and routing to them; with real streaming in tests/faults."""

import threading
from contextlib import contextmanager

import pytest
from django.db import DatabaseError, connections

from notes.models import Note
from pcf.database import replicas
from pcf.database.connection import StatementOverdue
from pcf.database.lateral import OuterKey, lateral
from pcf.database.query import query_with_timeout
from pcf.database.replicas import IN_USE, LAGGING, PROMOTED, UNREACHABLE, Probe, Replica, Replicas
from pcf.database.replicas import Timeline as Line
from pcf.database.routing import PRIMARY, ReplicaRouter, read_from, reading_alias
from pcf.database.statements import count_queries
from scripts.chaos.servers import wait_for

HERE = "SELECT 5000"  # a replica's position


class NoTables(Exception):
    """A statement reached the wrapper that it was to reach."""


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


def test_the_lag_is_the_age_of_the_first_position_that_is_missing():
    line = Line(10)
    assert line.behind(7, 100.0) == (0.0, 0)
    line.add(1_000, 100.0)
    line.add(2_000, 101.0)
    line.add(2_000, 109.0)  # nothing was written meanwhile
    assert line.behind(2_000, 110.0) == (0.0, 0)
    assert line.behind(2_500, 110.0) == (0.0, 0)
    assert line.behind(1_000, 110.0) == (9.0, 1_000)
    assert line.behind(999, 110.0) == (10.0, 1_001)


def test_reads_go_where_the_block_says_and_writes_to_the_primary(made_replica):
    router = ReplicaRouter()
    with read_from(made_replica.alias):
        assert Note.objects.all().db == made_replica.alias
        assert router.db_for_write(Note) == PRIMARY
        assert reading_alias() == made_replica.alias
    assert Note.objects.all().db == PRIMARY
    assert router.allow_migrate(PRIMARY, "notes")
    assert not router.allow_migrate(made_replica.alias, "notes")
    assert router.allow_relation(None, None)


def test_lists_and_plain_sql_follow(made_replica):
    queryset = Note.objects.filter(author_id=OuterKey()).order_by("id")[:3]
    with read_from(made_replica.alias), count_queries() as log:
        with pytest.raises(NoTables), made_replica.execute_wrapper(refuse):
            lateral(queryset, [1, 2])
        query_with_timeout("SELECT 1", None, 5)
    assert log.count == 1
    assert made_replica.pool.get_stats()["requests_num"] == 1


@pytest.fixture
def answering(made_replica):
    """A replica that answers a look with the rows of a statement."""

    def look(sql, line):
        replica = Replica(made_replica.alias)
        probe = Probe(made_replica.alias, sql)
        replica.look(probe, line)
        probe.close()
        return replica

    return look


def test_what_a_look_finds(answering, configure):
    configure("replicas", max_lag_bytes=100)
    line = Line(10)
    replica = answering(HERE, line)
    assert (replica.state, replica.position) == (IN_USE, 5_000)
    line.add(5_100, replicas.monotonic())
    assert answering(HERE, line).state == IN_USE
    line.add(5_101, replicas.monotonic())
    assert answering(HERE, line).state == LAGGING
    assert answering("SELECT NULL::bigint", line).state == PROMOTED
    assert answering("SELECT 1/0", line).state == UNREACHABLE


def test_a_replica_that_is_too_late_in_seconds_is_lagging(answering, configure):
    configure("replicas", max_lag=3.0)
    line = Line(10)
    line.add(6_000, replicas.monotonic() - 2.0)
    assert answering(HERE, line).state == IN_USE
    line = Line(10)
    line.add(6_000, replicas.monotonic() - 4.0)
    assert answering(HERE, line).state == LAGGING


def test_what_was_known_long_ago_is_no_reason_to_read_from_it(answering, configure):
    replica = answering(HERE, Line(10))
    assert replica.usable(replicas.monotonic())
    assert not replica.usable(replicas.monotonic() + 5.0)


def test_a_failure_leaves_it_out_until_the_next_look(made_replica):
    replica = Replica(made_replica.alias)
    probe = Probe(made_replica.alias, HERE)
    replica.look(probe, Line(10))
    replica.failed()
    assert not replica.usable(replicas.monotonic())
    replica.look(probe, Line(10))
    assert replica.usable(replicas.monotonic())
    probe.close()


def test_a_frozen_replica_is_noticed_and_its_readers_are_let_go(through_proxy, proxy, configure):
    """A reader waits for a statement that will not be answered; the look hangs up for it."""
    configure("replicas", check_timeout=0.6)
    alias = through_proxy.alias
    replica = Replica(alias)
    probe = Probe(alias, HERE)
    replica.look(probe, Line(10))
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
    wait_for("the reader is let go", lambda: replica.look(probe, Line(10)) or failures)
    reader.join()
    assert replica.state == UNREACHABLE
    assert failures
    probe.close()


def test_threads_watch_and_end(made_replica, configure, monkeypatch):
    monkeypatch.setattr(replicas, "_REPLAYED", HERE)
    # the primary may be far ahead of the position that this replica claims
    configure("replicas", check_interval=0.01, max_lag=600.0, max_lag_bytes=2**60)
    watched = Replicas([made_replica.alias])
    looking, watch = threading.Event(), Replicas._watch

    def held_watch(self, replica):
        looking.wait(10)
        watch(self, replica)

    monkeypatch.setattr(Replicas, "_watch", held_watch)
    try:
        assert watched.pick() is None  # the first request does not wait for the first look
        looking.set()
        wait_for("the first look", watched.pick)
        assert watched.pick().alias == made_replica.alias
        assert watched.all_have(5_000)
        assert not watched.all_have(5_001)
    finally:
        watched.close()
    assert not any(thread.is_alive() for thread in watched._threads)


def test_without_replicas_nothing_is_watched():
    nothing = Replicas([])
    assert nothing.pick() is None
    assert nothing._threads == []


def test_the_primary_tells_its_position_and_goes_on_after_a_restart(unblocked, other):
    probe = replicas.SharedProbe()
    first = probe.ask()
    pid = probe._probe._connection.info.backend_pid
    other.execute("SELECT pg_terminate_backend(%s)", [pid])
    assert probe.ask() >= first > 0
    assert probe._probe._connection.info.backend_pid != pid
    probe._probe.close()


def test_nobody_waits_long_for_a_thread_that_waits_for_the_primary(unblocked, configure):
    configure("replicas", check_timeout=0.05)
    probe = replicas.SharedProbe()
    with probe._lock, pytest.raises(StatementOverdue):
        probe.ask()


def test_a_server_that_is_no_replica_has_replayed_nothing(unblocked):
    assert replicas.replayed_position(PRIMARY) is None
