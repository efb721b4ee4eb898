"""The faults: what each does to a running stack, and what clients may see of it meanwhile."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

import psycopg

from scripts.chaos.book import BROKEN, REFUSED, TIMEOUT, UNAVAILABLE
from scripts.chaos.servers import wait_for
from scripts.chaos.stack import DATABASE, Stack

UNKNOWN = "OUTCOME_UNKNOWN"  # the connection broke while the answer to COMMIT was awaited
AWAY = frozenset({UNAVAILABLE, TIMEOUT, UNKNOWN})
NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Fault:
    """``during(stack)`` is the fault while its block runs. ``seen`` are the outcomes that clients
    may see of it; everything else is a violation, as are answers that are wrong or late.
    """

    name: str
    during: Callable[[Stack], AbstractContextManager[None]]
    seen: frozenset[str]


FAULTS: dict[str, Fault] = {}


def fault(name: str, seen: frozenset[str]) -> Callable[[Callable[[Stack], Iterator[None]]], Fault]:
    """Register what a generator does before and after its ``yield`` as a fault."""

    def decorate(function: Callable[[Stack], Iterator[None]]) -> Fault:
        made = Fault(name, contextmanager(function), seen)
        FAULTS[function.__name__] = made
        return made

    return decorate


@fault("PostgreSQL stopped, started again", AWAY)
def postgresql_stopped(stack: Stack) -> Iterator[None]:
    stack.primary.stop()
    yield
    stack.primary.start()


@fault("PostgreSQL killed (SIGKILL), started again", AWAY)
def postgresql_killed(stack: Stack) -> Iterator[None]:
    stack.primary.kill()
    yield
    stack.primary.start()


@fault("PostgreSQL frozen (SIGSTOP)", AWAY)
def postgresql_frozen(stack: Stack) -> Iterator[None]:
    stack.primary.freeze()
    yield
    stack.primary.thaw()


@fault("connections cut in the middle of a result", AWAY)
def results_cut(stack: Stack) -> Iterator[None]:
    stack.line.cut_after(2_000)
    yield
    stack.line.cut_after(None)


@fault("`pg_terminate_backend` on everything, again and again", AWAY)
def backends_terminated(stack: Stack) -> Iterator[None]:
    terminate(stack)
    yield
    terminate(stack)


def terminate(stack: Stack) -> None:
    """End every session of the service."""
    stack.primary.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = %s AND pid <> pg_backend_pid()",
        parameters=(DATABASE,),
    )


@fault("`max_connections` reached", AWAY)
def connections_used_up(stack: Stack) -> Iterator[None]:
    with ExitStack() as held:
        connection = held.enter_context(psycopg.connect(stack.primary.url(), autocommit=True))
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                (DATABASE,),
            )
            try:
                held.enter_context(psycopg.connect(stack.primary.url()))
            except psycopg.OperationalError:
                break
        yield


@fault("every connection and thread busy: a table is locked", AWAY)
def table_locked(stack: Stack) -> Iterator[None]:
    with psycopg.connect(stack.primary.url(DATABASE)) as connection:
        connection.execute("LOCK TABLE notes_note IN ACCESS EXCLUSIVE MODE")
        yield


def _trigger(stack: Stack, body: str) -> None:
    stack.primary.execute(
        f"""CREATE OR REPLACE FUNCTION chaos() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN {body} RETURN NEW; END $$;
            CREATE OR REPLACE TRIGGER chaos BEFORE INSERT OR UPDATE ON notes_note
            FOR EACH ROW EXECUTE FUNCTION chaos()""",
        DATABASE,
    )


def _no_trigger(stack: Stack) -> None:
    """The trigger does nothing any more; to drop it would wait for those it holds up."""
    stack.primary.execute(
        "CREATE OR REPLACE FUNCTION chaos() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RETURN NEW; END $$",
        DATABASE,
    )


@fault("disk full (error 53100 on every write)", AWAY)
def disk_full(stack: Stack) -> Iterator[None]:
    _trigger(stack, "RAISE EXCEPTION 'No space left on device' USING ERRCODE = '53100';")
    yield
    _no_trigger(stack)


@fault("a statement that ignores its budget", AWAY)
def budget_ignored(stack: Stack) -> Iterator[None]:
    """Every fourth write, or so, catches its cancellation and goes on."""
    _trigger(
        stack,
        """IF random() < 0.25 THEN
             FOR i IN 1..3 LOOP
               BEGIN PERFORM pg_sleep(2); EXCEPTION WHEN query_canceled THEN NULL; END;
             END LOOP;
           END IF;""",
    )
    yield
    _no_trigger(stack)


@fault("replica stopped, started again", NOTHING)
def replica_stopped(stack: Stack) -> Iterator[None]:
    stack.replica.stop()
    yield
    stack.replica.start()


@fault("replica frozen (SIGSTOP)", NOTHING)
def replica_frozen(stack: Stack) -> Iterator[None]:
    stack.replica.freeze()
    yield
    stack.replica.thaw()


@fault("replica lagging", NOTHING)
def replica_lagging(stack: Stack) -> Iterator[None]:
    stack.replica.execute("SELECT pg_wal_replay_pause()")
    yield
    stack.replica.execute("SELECT pg_wal_replay_resume()")


@fault("replica promoted, then made anew", NOTHING)
def replica_promoted(stack: Stack) -> Iterator[None]:
    stack.replica.promote()
    yield
    stack.rebuild_replica()


@fault("Redis killed (SIGKILL), started again empty", NOTHING)
def redis_killed(stack: Stack) -> Iterator[None]:
    stack.redis.kill()
    yield
    stack.redis.start()


@fault("Redis frozen (SIGSTOP)", NOTHING)
def redis_frozen(stack: Stack) -> Iterator[None]:
    stack.redis.freeze()
    yield
    stack.redis.thaw()


@fault("gunicorn reloaded (SIGHUP)", NOTHING)
def gunicorn_reloaded(stack: Stack) -> Iterator[None]:
    old = stack.service.workers()
    stack.service.signal(signal.SIGHUP)
    yield
    wait_for("the old workers to end", lambda: not set(old) & set(stack.service.workers()))
    stack.service.wait_ready()


# What waits in the listening socket's queue when it is closed was never begun: see ``Stack.lost``.
@fault("gunicorn stopped (SIGTERM), started again", frozenset({REFUSED, BROKEN}))
def gunicorn_stopped(stack: Stack) -> Iterator[None]:
    status = stack.service.stop()
    if status:
        raise RuntimeError(f"gunicorn ended with status {status}")
    yield
    stack.service.start()


@fault("a worker killed (SIGKILL)", frozenset({BROKEN}))
def worker_killed(stack: Stack) -> Iterator[None]:
    before = stack.service.workers()
    os.kill(before[0], signal.SIGKILL)
    yield
    wait_for("a new worker", lambda: len(stack.service.workers()) == len(before))
    stack.service.wait_ready()
