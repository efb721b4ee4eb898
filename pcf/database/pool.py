"""The connection pool: waits inside the deadline, hands out only living connections."""

import os
import select
import socket
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from time import monotonic
from typing import Any

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout, TooManyRequests

from pcf import metrics
from pcf.apps import config
from pcf.compute import slot_released
from pcf.database.connection import LAYER, Connection
from pcf.database.errors import DatabaseUnavailable, TooManyWaiting
from pcf.database.retry import Backoff
from pcf.timeouts import DeadlineExceeded, TimeoutContext, activate, current_timeout

CHECK_AFTER = 5.0  # seconds unused after which a look at the socket is not enough
CHECK_LIMIT = 1.0  # seconds that the server has to answer the question
RECONNECT_TIMEOUT = 0.25  # seconds; psycopg_pool's own pauses grow to minutes, ours do not


def backoff() -> Backoff:
    """The backoff policy of everything that talks to the database, as configured now."""
    database = config().database
    return Backoff(
        initial=database.backoff_initial,
        maximum=database.backoff_max,
        attempts=database.retry_attempts,
    )


class _Measures:
    """The metrics of one pool. ``size`` is that of its last use: an idle pool shrinks unseen."""

    def __init__(self, database: str) -> None:
        self.size = metrics.db_pool.labels(database, "size")
        self.limit = metrics.db_pool.labels(database, "limit")
        self.in_use = metrics.db_pool.labels(database, "in_use")
        self.waiting = metrics.db_pool.labels(database, "waiting")
        self.wait = metrics.db_pool_wait.labels(database)


class Pool(ConnectionPool[Connection]):
    """psycopg's pool under the request's deadline.

    * Server away: clients wait until it is back, at most ``timeout`` seconds and never past their
      deadline. While anyone waits, reconnection is tried with the engine's backoff; while nobody
      waits, nothing is tried.
    * Connections broken while idle (server restarted, backend terminated): found on checkout,
      without a round trip unless the connection lay idle for ``CHECK_AFTER`` seconds; the other
      idle ones are checked at once too, so that a client pays for the fault only once.
    * Exhausted: beyond ``max_waiting`` clients, the next is refused immediately.

    Inside a TimeoutContext the errors are ``DeadlineExceeded``, ``DatabaseUnavailable`` and
    ``TooManyWaiting``; outside they are psycopg_pool's, which Django makes OperationalErrors.
    """

    def __init__(
        self,
        *,
        connection_class: type[Connection],
        configure: Callable[[Connection], object],
        checked: bool,
        can_hang_up: bool = False,
        **options: Any,
    ) -> None:
        """``checked``: look at connections on checkout; ``can_hang_up``: allow ``hang_up``, which
        costs a file descriptor for each connection in use; ``options`` as psycopg_pool's.

        ``name`` is the database's alias; metrics go by it.
        """
        options.setdefault("reconnect_timeout", RECONNECT_TIMEOUT)
        self._checked = checked
        self._lent: dict[Connection, int] | None = {} if can_hang_up else None
        self._lent_lock = Lock()
        self._connect_limit = float(options["kwargs"].get("connect_timeout") or 5.0)
        self._failures = 0
        self._configure_connection = configure
        self._measures = _Measures(options["name"])
        self._told = -1  # the size that is in the metrics
        super().__init__(
            connection_class=connection_class,
            configure=self._configure_in_time,
            reconnect_failed=self._try_again,
            **options,
        )

    def getconn(self, timeout: float | None = None) -> Connection:
        """A living connection within ``timeout`` seconds (the pool's own by default)."""
        context = current_timeout()
        seconds = self.timeout if timeout is None else timeout
        bound = None
        if context is not None:
            bound = context if context.layer == LAYER else context.child_budget(LAYER)
            seconds = min(seconds, bound.remaining())
        started = monotonic()
        deadline = started + seconds
        try:
            connection = self._living(seconds, deadline)
        except TooManyRequests as error:
            if context is None:
                raise
            raise TooManyWaiting from error
        except PoolTimeout as error:
            if bound is None:
                raise
            raise _unavailable(bound) from error
        finally:
            self._measures.wait.observe(monotonic() - started)
        self._measures.in_use.inc()
        if self._lent is not None:
            with self._lent_lock:
                self._lent[connection] = os.dup(connection.fileno())
        return connection

    def _living(self, seconds: float, deadline: float) -> Connection:
        """One that is alive; who finds none idle, or only broken ones, counts as waiting."""
        waits = not self._pool
        if waits:
            self._measures.waiting.inc()
        try:
            connection = self._wait_for_one(seconds) if waits else super().getconn(seconds)
            while self._checked and not _alive(connection, deadline):
                self._replace(connection)
                if not waits:
                    waits = True
                    self._measures.waiting.inc()
                connection = self._wait_for_one(deadline - monotonic())
            return connection
        finally:
            if waits:
                self._measures.waiting.dec()

    def _wait_for_one(self, seconds: float) -> Connection:
        with slot_released():
            return super().getconn(seconds)

    def putconn(self, conn: Connection) -> None:
        """Take ``conn`` back; a broken one is replaced."""
        conn.last_used = monotonic()
        self._measures.in_use.dec()
        if self._lent is not None:
            with self._lent_lock:
                os.close(self._lent.pop(conn))
        super().putconn(conn)
        self._tell_size(self._nconns)

    def close(self, timeout: float = 5.0) -> None:
        """As psycopg_pool's; nothing is counted as open any more."""
        super().close(timeout)
        self._tell_size(0)
        self._measures.limit.set(0)

    def hang_up(self) -> None:
        """End all connections in use: whoever waits for the server's answer finds them lost.

        By a duplicate of the descriptor, because the owner may close its own at any moment and the
        number then belongs to somebody else.
        """
        with self._lent_lock:
            for descriptor in (self._lent or {}).values():
                with socket.socket(fileno=os.dup(descriptor)) as line, suppress(OSError):
                    line.shutdown(socket.SHUT_RDWR)

    def _tell_size(self, size: int) -> None:
        if size != self._told:
            self._told = size
            self._measures.size.set(size)

    def _replace(self, connection: Connection) -> None:
        """Drop a connection found broken, and every other idle one that is broken too."""
        frozen = connection.overdue
        connection.close()
        super().putconn(connection)
        if frozen:
            self.drain()  # asking each of the others would cost CHECK_LIMIT every time
        else:
            self._check_idle()

    def _check_idle(self) -> None:
        with activate(TimeoutContext.start("check", CHECK_LIMIT)):
            self.check()

    def _configure_in_time(self, connection: Connection) -> None:
        """Configure a new connection; a server that freezes meanwhile cannot keep the worker."""
        with activate(TimeoutContext.start("connect", self._connect_limit)):
            self._configure_connection(connection)
        connection.last_used = monotonic()
        self._failures = 0
        self._tell_size(self._nconns)
        self._measures.limit.set(self.max_size)

    def _try_again(self, _pool: ConnectionPool[Any]) -> None:
        """Connecting failed and the pool gave up: go on, after a pause, while clients wait."""
        self._failures += 1
        backoff().sleep(backoff().pause(self._failures - 1))
        if self.get_stats().get("requests_waiting"):
            self._check_idle()  # which lets the pool grow


def _unavailable(bound: TimeoutContext) -> DeadlineExceeded | DatabaseUnavailable:
    return bound.exceeded() if bound.expired else DatabaseUnavailable()


def _alive(connection: Connection, deadline: float) -> bool:
    """Whether the server still talks to us; it has until ``deadline`` to say so, on monotonic().

    An idle connection has nothing to read, except the server's farewell or the end of the stream.
    Without any, one that was used lately is taken to be alive; else the server is asked.
    """
    poll = select.poll()
    try:
        poll.register(connection.fileno(), select.POLLIN)
        silent = not poll.poll(0)
        if silent and monotonic() - connection.last_used < CHECK_AFTER:
            return True
        limit = min(CHECK_LIMIT, deadline - monotonic())
        connection.deadline = monotonic() + limit
        with activate(TimeoutContext.start("check", limit)):
            ConnectionPool.check_connection(connection)
    except psycopg.Error:
        return False
    finally:
        connection.deadline = None
    return True
