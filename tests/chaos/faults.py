"""The faults: the effect of each on a running stack, and the outcomes that clients may see."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

import psycopg

from tests.chaos.ledger import BROKEN, REFUSED, TIMEOUT, UNAVAILABLE
from tests.chaos.servers import wait_for
from tests.chaos.stack import DATABASE, Stack

UNKNOWN = "OUTCOME_UNKNOWN"  # the connection broke before the answer to COMMIT
AWAY = frozenset({UNAVAILABLE, TIMEOUT, UNKNOWN})
NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Fault:
    """A fault of a stack.

    The fault lasts while the block of ``during(stack)`` runs. Clients may see the outcomes
    ``seen``. Every other failure is a violation, and so are wrong and late answers.
    """

    name: str
    during: Callable[[Stack], AbstractContextManager[None]]
    seen: frozenset[str]


FAULTS: dict[str, Fault] = {}


def fault(name: str, seen: frozenset[str]) -> Callable[[Callable[[Stack], Iterator[None]]], Fault]:
    """Register a generator as a fault, which begins before the ``yield`` and ends after it."""

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
    stack.proxy.cut_after(2_000)
    yield
    stack.proxy.cut_after(None)


@fault("`pg_terminate_backend` on everything, again and again", AWAY)
def backends_terminated(stack: Stack) -> Iterator[None]:
    terminate(stack)
    yield
    terminate(stack)


def terminate(stack: Stack) -> None:
    """Terminate every session of the service."""
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
    """Make the trigger do nothing. DROP TRIGGER would wait for the statements in it."""
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
    """About every fourth write catches its cancellation and continues."""
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


# Requests in the queue of the listening socket are not executed; ``Stack.lost`` checks that.
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
