"""Read replicas: the routing of reads, WAL positions, and the state of each replica.

Reads use the primary unless ``read_from`` names a replica. GraphQL queries may read from a replica.
Mutations, the admin, tokens and commands use the primary, and so do all writes.

A *position* is a number of bytes of WAL: a PostgreSQL LSN as an integer.
"""

import logging
from collections import deque
from contextvars import ContextVar
from functools import cache
from math import ceil
from random import choice
from threading import Event, Lock, Thread
from time import monotonic
from typing import Any

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections

from pcf.conf import config
from pcf.database.connection import GRACE, DeadlineConnection, StatementOverdue
from pcf.database.pool import DeadlinePool
from pcf.greenlets import in_thread
from pcf.observability import metrics

logger = logging.getLogger("pcf.database")

PRIMARY = DEFAULT_DB_ALIAS

_read_alias: ContextVar[str] = ContextVar("pcf_read_alias", default=PRIMARY)


def read_alias() -> str:
    """Return the alias of the database for reads."""
    return _read_alias.get()


class read_from:  # noqa: N801 - a context manager, used like a function
    """Context manager that uses the database ``alias`` for the reads of its block."""

    __slots__ = ("_alias", "_token")

    def __init__(self, alias: str) -> None:
        self._alias = alias

    def __enter__(self) -> None:
        self._token = _read_alias.set(self._alias)

    def __exit__(self, *_: object) -> None:
        _read_alias.reset(self._token)


class ReplicaRouter:
    """Django's database router: reads follow ``read_from``, writes use the primary."""

    def db_for_read(self, _model: Any, **_hints: Any) -> str:
        """Return the alias that ``read_from`` has set."""
        return _read_alias.get()

    def db_for_write(self, _model: Any, **_hints: Any) -> str:
        """Return the primary: a replica accepts no writes."""
        return PRIMARY

    def allow_relation(self, _one: Any, _other: Any, **_hints: Any) -> bool:
        """Allow all relations: all databases hold the same rows."""
        return True

    def allow_migrate(self, alias: str, _app: str, **_hints: Any) -> bool:
        """Migrate the primary alone; the replicas follow it."""
        return alias == PRIMARY


# The insert position, because with synchronous_commit off a commit may not be written yet.
_INSERTED = "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint"
# The flush position: a replica cannot have received more.
_FLUSHED = "SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint"
# NULL for a promoted server, which has a WAL of its own and is no replica any more.
_REPLAYED = """
SELECT CASE WHEN pg_is_in_recovery() THEN (pg_last_wal_replay_lsn() - '0/0')::bigint END"""


class PositionProbe:
    """A connection that reads one server's position; opened at the first use and kept.

    When the server does not answer, ``read`` raises an error and closes the connection. The next
    ``read`` connects again. A probe belongs to one thread.
    """

    def __init__(self, alias: str, sql: str) -> None:
        self.alias = alias
        self._sql = sql
        self._connection: DeadlineConnection | None = None

    def read(self) -> int | None:
        """Return the server's position.

        Raises psycopg's Error after ``replicas.check_timeout`` seconds.
        """
        if self._connection is not None:
            try:
                return self._read(self._connection)
            except StatementOverdue:
                self.close()
                raise
            except psycopg.OperationalError:  # the server was restarted since
                self.close()
        params = connections[self.alias].get_connection_params()
        self._connection = DeadlineConnection.connect(**params, autocommit=True)
        try:
            return self._read(self._connection)
        except psycopg.Error:
            self.close()
            raise

    def _read(self, connection: DeadlineConnection) -> int | None:
        # the connection waits GRACE seconds beyond the deadline for a silent server
        seconds = max(0.0, config().replicas.check_timeout - GRACE)
        connection.deadline = monotonic() + seconds
        row = connection.execute(self._sql).fetchone()
        return row[0] if row else None

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class PrimaryProbe:
    """A probe of the primary for all threads of the process, which use it in turn.

    When the primary does not answer, the thread that asks gets psycopg's error. A thread that waits
    longer than ``replicas.check_timeout`` for its turn gets ``StatementOverdue``.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._probe = PositionProbe(PRIMARY, _INSERTED)

    def read(self) -> int:
        """Return the insert position of the primary. Raises psycopg's Error."""
        if not self._lock.acquire(timeout=config().replicas.check_timeout):
            raise StatementOverdue("other threads wait for the position of the primary")
        try:
            return self._probe.read() or 0
        finally:
            self._lock.release()


@cache
def _primary_probe() -> PrimaryProbe:
    return PrimaryProbe()


def primary_position() -> int:
    """Return a position behind everything that the primary has committed so far.

    The function uses the process's own connection, outside of transactions and of the request's
    deadline: a commit must be accounted for in any case. The function takes at most twice
    ``replicas.check_timeout``. Raises psycopg's Error when the primary does not answer.
    """
    return in_thread(_primary_probe().read)  # which waits for its turn, too


def replayed_position(alias: str) -> int | None:
    """Return the position that the replica ``alias`` has replayed; None when it was promoted.

    The statement runs within the request's deadline, on the connection that the request reads from
    afterwards. Raises Django's Error when the replica does not answer.
    """
    with connections[alias].cursor() as cursor:
        cursor.execute(_REPLAYED)
        position: int | None = cursor.fetchone()[0]
        return position


class PrimaryHistory:
    """The latest positions of the primary and their times. Thread-safe.

    A lag in seconds is the age of the first position that a replica lacks. So the lag needs no
    comparison of two clocks. When the primary is away, the history gets no new positions, and the
    lag of a replica does not grow.
    """

    def __init__(self, samples: int) -> None:
        """``samples``: the number of positions to keep."""
        self._lock = Lock()
        self._samples: deque[tuple[int, float]] = deque(maxlen=samples)

    def add(self, position: int, now: float) -> None:
        """Record that the primary is at ``position`` at ``now`` (seconds, monotonic)."""
        with self._lock:
            if not self._samples or position > self._samples[-1][0]:
                self._samples.append((position, now))

    def lag(self, position: int, now: float) -> tuple[float, int]:
        """Return the lag of ``position`` in seconds and in bytes."""
        with self._lock:
            missing = next((time for known, time in self._samples if known > position), now)
            newest = self._samples[-1][0] if self._samples else position
        return now - missing, max(0, newest - position)


UNKNOWN, IN_USE, LAGGING, PROMOTED, UNREACHABLE = (
    "unknown", "in use", "lagging", "promoted", "unreachable",
)  # fmt: skip


class Replica:
    """The state of one replica. Its monitor thread writes the state; requests read it.

    When the replica does not answer, lags or was promoted, ``usable`` is False until a later check
    succeeds.
    """

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self.state = UNKNOWN
        self.position = 0  # the replica has replayed at least this
        self._checked_at = 0.0

    def usable(self, now: float) -> bool:
        """Return whether queries may read from the replica: its last check was good and recent."""
        return self.state == IN_USE and now - self._checked_at < config().replicas.max_lag

    def check(self, probe: PositionProbe, history: PrimaryHistory) -> None:
        """Read the replica's position and set its state."""
        try:
            position = probe.read()
        except (psycopg.Error, OSError):
            self._set_state(UNREACHABLE)
            self.terminate_connections()
            return
        if position is None:
            self._set_state(PROMOTED)
            return
        settings = config().replicas
        seconds, size = history.lag(position, monotonic())
        metrics.db_replica_lag.labels(self.alias).set(seconds)
        self.position = position
        late = seconds > settings.max_lag or size > settings.max_lag_bytes
        self._set_state(LAGGING if late else IN_USE)

    def report_failure(self) -> None:
        """Leave the replica out until the next good check: a request found it broken."""
        self._set_state(UNREACHABLE)

    def terminate_connections(self) -> None:
        """End the requests' connections to the replica, so that none waits for a frozen server."""
        pool: DeadlinePool | None = connections[self.alias].pool  # type: ignore[attr-defined]
        if pool is not None:
            pool.terminate_connections()

    def _set_state(self, state: str) -> None:
        self._checked_at = monotonic()
        if state != self.state:
            logger.warning("%s is %s (was %s)", self.alias, state, self.state)
            self.state = state
        metrics.db_replica_in_use.labels(self.alias).set(state == IN_USE)


class Replicas:
    """The replicas of a process.

    One thread for each server checks it every ``replicas.check_interval`` seconds. ``pick`` leaves
    out a replica that does not answer, lags or was promoted. When a thread fails or dies, its last
    check becomes old, and ``pick`` leaves the replica out as well. Without a usable replica,
    queries read from the primary.
    """

    def __init__(self, aliases: list[str]) -> None:
        self.members = [Replica(alias) for alias in aliases]
        settings = config().replicas
        self._history = PrimaryHistory(ceil(settings.max_lag / settings.check_interval) + 2)
        self._closed = Event()
        self._lock = Lock()
        self._threads: list[Thread] = []

    def pick(self) -> Replica | None:
        """Return a usable replica at random; None when there is none at the moment."""
        if not self._threads and self.members:
            self._start()  # at the first request: threads do not survive the fork of a worker
        now = monotonic()
        usable = [replica for replica in self.members if replica.usable(now)]
        return choice(usable) if usable else None  # noqa: S311 - to spread load

    def have_replayed(self, position: int) -> bool:
        """Return whether every usable replica has replayed ``position``."""
        now = monotonic()
        return all(it.position >= position for it in self.members if it.usable(now))

    def close(self) -> None:
        """Stop the threads."""
        self._closed.set()
        for thread in self._threads:
            thread.join()

    def _start(self) -> None:
        with self._lock:
            if self._threads or self._closed.is_set():
                return
            for replica in (None, *self.members):
                thread = Thread(target=self._monitor, args=(replica,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _monitor(self, replica: Replica | None) -> None:
        """Check one replica, or the primary (None), until the replicas are closed."""
        probe = (
            PositionProbe(PRIMARY, _FLUSHED)
            if replica is None
            else PositionProbe(replica.alias, _REPLAYED)
        )
        while True:
            try:
                if replica is None:
                    self._check_primary(probe)
                else:
                    replica.check(probe, self._history)
            except Exception:
                logger.exception("the check of %s failed", probe.alias)
            if self._closed.wait(config().replicas.check_interval):
                break
        probe.close()

    def _check_primary(self, probe: PositionProbe) -> None:
        try:
            position = probe.read()
        except (psycopg.Error, OSError):
            return  # the requests to the primary report the error
        if position is not None:
            self._history.add(position, monotonic())


@cache
def replicas() -> Replicas:
    """Return the process's replicas: the databases with ``replica`` in their OPTIONS."""
    aliases = [a for a in connections if connections[a].settings_dict["OPTIONS"].get("replica")]
    return Replicas(aliases)
