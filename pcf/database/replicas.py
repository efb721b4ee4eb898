"""Which replicas may be read from: watched by threads of their own, off the requests' path.

Positions are bytes of WAL since the cluster began (an LSN as a number).
"""

import logging
from collections import deque
from functools import cache
from math import ceil
from random import choice
from threading import Event, Lock, Thread
from time import monotonic

import psycopg
from django.db import connections

from pcf import metrics
from pcf.apps import config
from pcf.database.connection import GRACE, Connection, StatementOverdue
from pcf.database.pool import Pool
from pcf.database.routing import PRIMARY

logger = logging.getLogger("pcf.database")

# Inserted, not written: with synchronous_commit off a commit may not have been written yet.
_INSERTED = "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint"
# Flushed is what replicas can have received.
_FLUSHED = "SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint"
# A server that was promoted has a history of its own from then on: it is no replica any more.
_REPLAYED = """
SELECT CASE WHEN pg_is_in_recovery() THEN (pg_last_wal_replay_lsn() - '0/0')::bigint END"""

UNKNOWN, IN_USE, LAGGING, PROMOTED, UNREACHABLE = (
    "unknown", "in use", "lagging", "promoted", "unreachable",
)  # fmt: skip


def primary_position() -> int:
    """A position behind everything that the primary has committed so far.

    On a connection of the process's own, which is neither in a transaction nor bound to a
    request's deadline: what was committed must be accounted for in any case. Takes at most two
    ``replicas.check_timeout``. Raises psycopg's ``Error`` when the primary does not answer.
    """
    return _position_of_primary().ask()


def replayed_position(alias: str) -> int | None:
    """How far the replica ``alias`` is now; None when it was promoted.

    Asked within the request's deadline, on the connection that the request goes on to read from.
    Raises Django's ``Error`` when the replica does not answer.
    """
    with connections[alias].cursor() as cursor:
        cursor.execute(_REPLAYED)
        position: int | None = cursor.fetchone()[0]
        return position


class Timeline:
    """When the primary was where: tells a lag in seconds without comparing clocks."""

    def __init__(self, samples: int) -> None:
        """``samples``: how many positions are remembered."""
        self._lock = Lock()
        self._samples: deque[tuple[int, float]] = deque(maxlen=samples)

    def add(self, position: int, now: float) -> None:
        """The primary is at ``position`` at ``now`` (seconds, monotonic)."""
        with self._lock:
            if not self._samples or position > self._samples[-1][0]:
                self._samples.append((position, now))

    def behind(self, position: int, now: float) -> tuple[float, int]:
        """Seconds and bytes by which ``position`` is behind what is known of the primary.

        With the primary away nothing more becomes known, and replicas are as good as they were.
        """
        with self._lock:
            missing = next((time for known, time in self._samples if known > position), now)
            newest = self._samples[-1][0] if self._samples else position
        return now - missing, max(0, newest - position)


class Probe:
    """A connection to one server for looking at it, opened when needed and kept."""

    def __init__(self, alias: str, sql: str) -> None:
        self.alias = alias
        self._sql = sql
        self._connection: Connection | None = None

    def ask(self) -> int | None:
        """The server's position. Raises psycopg's ``Error`` after ``replicas.check_timeout``."""
        if self._connection is not None:
            try:
                return self._ask(self._connection)
            except StatementOverdue:
                self.close()
                raise
            except psycopg.OperationalError:  # the server was restarted since
                self.close()
        params = connections[self.alias].get_connection_params()
        self._connection = Connection.connect(**params, autocommit=True)
        try:
            return self._ask(self._connection)
        except psycopg.Error:
            self.close()
            raise

    def _ask(self, connection: Connection) -> int | None:
        # a server that is silent is left GRACE seconds after the deadline
        seconds = max(0.0, config().replicas.check_timeout - GRACE)
        connection.deadline = monotonic() + seconds
        row = connection.execute(self._sql).fetchone()
        return row[0] if row else None

    def close(self) -> None:
        """Give the connection up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class SharedProbe:
    """A probe of the primary for all threads, which ask one after another."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._probe = Probe(PRIMARY, _INSERTED)

    def ask(self) -> int:
        """As ``Probe.ask``; whoever has to wait for too long fails, too."""
        if not self._lock.acquire(timeout=config().replicas.check_timeout):
            raise StatementOverdue("others wait for the position of the primary")
        try:
            return self._probe.ask() or 0
        finally:
            self._lock.release()


@cache
def _position_of_primary() -> SharedProbe:
    return SharedProbe()


class Replica:
    """What is known of one replica. Its watch writes it, requests read it."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self.state = UNKNOWN
        self.position = 0  # it has replayed at least this
        self._looked_at = 0.0

    def usable(self, now: float) -> bool:
        """Whether queries may read from it: it was well, a moment ago."""
        return self.state == IN_USE and now - self._looked_at < config().replicas.max_lag

    def look(self, probe: Probe, timeline: Timeline) -> None:
        """Ask it where it is, and judge that."""
        try:
            position = probe.ask()
        except (psycopg.Error, OSError):
            self._judge(UNREACHABLE)
            self.hang_up()
            return
        if position is None:
            self._judge(PROMOTED)
            return
        settings = config().replicas
        seconds, size = timeline.behind(position, monotonic())
        metrics.db_replica_lag.labels(self.alias).set(seconds)
        self.position = position
        late = seconds > settings.max_lag or size > settings.max_lag_bytes
        self._judge(LAGGING if late else IN_USE)

    def failed(self) -> None:
        """A request found it broken: it is left out until the next look finds it well."""
        self._judge(UNREACHABLE)

    def hang_up(self) -> None:
        """End the connections that requests have to it, so that none waits for a frozen server."""
        pool: Pool | None = connections[self.alias].pool  # type: ignore[attr-defined]
        if pool is not None:
            pool.hang_up()

    def _judge(self, state: str) -> None:
        self._looked_at = monotonic()
        if state != self.state:
            logger.warning("%s is %s (was %s)", self.alias, state, self.state)
            self.state = state
        metrics.db_replica_in_use.labels(self.alias).set(state == IN_USE)


class Replicas:
    """The replicas of a process.

    A thread a server looks at it every ``replicas.check_interval`` seconds. A replica that does not
    answer, lags, or was promoted is not picked; when a thread fails or dies, what it knew grows old
    and its replica is not picked either. Without a replica to pick, queries read from the primary.
    """

    def __init__(self, aliases: list[str]) -> None:
        self.members = [Replica(alias) for alias in aliases]
        settings = config().replicas
        self._timeline = Timeline(ceil(settings.max_lag / settings.check_interval) + 2)
        self._closed = Event()
        self._lock = Lock()
        self._threads: list[Thread] = []

    def pick(self) -> Replica | None:
        """A replica that may be read from, None when there is none at the moment."""
        if not self._threads and self.members:
            self._start()  # by the first request: threads do not survive the fork of a worker
        now = monotonic()
        usable = [replica for replica in self.members if replica.usable(now)]
        return choice(usable) if usable else None  # noqa: S311 - to spread load

    def all_have(self, position: int) -> bool:
        """Whether every replica that may be picked was seen at ``position`` or later."""
        now = monotonic()
        return all(it.position >= position for it in self.members if it.usable(now))

    def close(self) -> None:
        """Stop watching."""
        self._closed.set()
        for thread in self._threads:
            thread.join()

    def _start(self) -> None:
        with self._lock:
            if self._threads or self._closed.is_set():
                return
            for replica in (None, *self.members):
                thread = Thread(target=self._watch, args=(replica,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _watch(self, replica: Replica | None) -> None:
        """Look at one replica, or at the primary (None), until closed."""
        probe = Probe(PRIMARY, _FLUSHED) if replica is None else Probe(replica.alias, _REPLAYED)
        while True:
            try:
                if replica is None:
                    self._look_at_primary(probe)
                else:
                    replica.look(probe, self._timeline)
            except Exception:
                logger.exception("looking at %s failed", probe.alias)
            if self._closed.wait(config().replicas.check_interval):
                break
        probe.close()

    def _look_at_primary(self, probe: Probe) -> None:
        try:
            position = probe.ask()
        except (psycopg.Error, OSError):
            return  # its requests say so
        if position is not None:
            self._timeline.add(position, monotonic())


@cache
def replicas() -> Replicas:
    """The process's replicas: the databases whose OPTIONS say ``replica``."""
    return Replicas([alias for alias in connections if is_replica(alias)])


def is_replica(alias: str) -> bool:
    """Whether ``alias`` is a read replica."""
    options = connections.settings[alias].get("OPTIONS") or {}
    return bool(options.get("replica"))
