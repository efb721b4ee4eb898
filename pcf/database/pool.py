"""The connection pool, and the wait for PostgreSQL when a server starts.

The pool waits inside the request's deadline and hands out only connections that work.
"""

import logging
import os
import select
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from threading import Lock
from time import monotonic
from typing import Any

import psycopg
from django.db import connections
from psycopg.pq import TransactionStatus
from psycopg_pool import ConnectionPool, PoolTimeout, TooManyRequests

from pcf.concurrency import in_pool_thread, slot_released
from pcf.database.connection import LAYER, DeadlineConnection
from pcf.database.retry import backoff
from pcf.errors import DatabaseUnavailable, TooManyWaiting
from pcf.greenlets import in_greenlet, in_thread
from pcf.observability import metrics
from pcf.timeouts import DeadlineExceeded, TimeoutContext, activate, current_timeout

logger = logging.getLogger("pcf.database")

CHECK_AFTER = 5.0  # seconds without use after which the pool asks the server
CHECK_LIMIT = 1.0  # seconds that the server has to answer
RECONNECT_TIMEOUT = 0.25  # seconds; psycopg_pool's own delays grow to minutes
CONNECT_TIMEOUT = 5.0  # seconds for one attempt to connect
MAX_KEPT = 1.0  # seconds after the checkout for which a thread may keep a connection
LOG_INTERVAL = 5.0  # seconds between two log lines while a server waits for PostgreSQL


class _PoolMetrics:
    """The metrics of one pool. ``size`` is updated when the pool is used: an idle pool shrinks."""

    def __init__(self, database: str) -> None:
        self.size = metrics.db_pool.labels(database, "size")
        self.limit = metrics.db_pool.labels(database, "limit")
        self.in_use = metrics.db_pool.labels(database, "in_use")
        self.waiting = metrics.db_pool.labels(database, "waiting")
        self.wait = metrics.db_pool_wait.labels(database)


class DeadlinePool(ConnectionPool[DeadlineConnection]):
    """psycopg's pool under the request's deadline. Thread-safe, as psycopg's.

    * The server is away: clients wait at most ``timeout`` seconds and never past their deadline.
      While a client waits, the pool reconnects with the engine's backoff. Without clients the pool
      does not reconnect.
    * A connection broke while it was idle (the server was restarted, or its backend terminated):
      the pool finds that on checkout. It asks the server only about a connection that was idle for
      ``CHECK_AFTER`` seconds. After one broken connection the pool checks all idle ones, so one
      client at the most is delayed.
    * All connections are in use: clients wait as above. Beyond ``max_waiting`` clients the next one
      is refused immediately.

    Inside a TimeoutContext the pool raises ``DeadlineExceeded``, ``DatabaseUnavailable`` and
    ``TooManyWaiting``. Outside it raises psycopg_pool's errors, which Django turns into
    OperationalErrors.
    """

    def __init__(
        self,
        *,
        connection_class: type[DeadlineConnection],
        configure: Callable[[DeadlineConnection], object],
        check_on_checkout: bool,
        can_terminate: bool = False,
        **options: Any,
    ) -> None:
        """``can_terminate`` allows ``terminate_connections``; it costs a file descriptor for each
        connection in use. ``options`` are psycopg_pool's; ``name`` is the alias of the database.
        """
        options.setdefault("reconnect_timeout", RECONNECT_TIMEOUT)
        self._check_on_checkout = check_on_checkout
        self._checked_out: dict[DeadlineConnection, int] | None = {} if can_terminate else None
        self._checked_out_lock = Lock()
        self._connect_limit = float(options["kwargs"].get("connect_timeout") or CONNECT_TIMEOUT)
        self._failures = 0
        self._configure_connection = configure
        self._metrics = _PoolMetrics(options["name"])
        self._reported_size = -1
        super().__init__(
            connection_class=connection_class,
            configure=self._configure_in_time,
            reconnect_failed=self._retry_connecting,
            **options,
        )

    def getconn(self, timeout: float | None = None) -> DeadlineConnection:
        """Return a working connection within ``timeout`` seconds (by default the pool's own)."""
        return in_thread(self._get_in_time, timeout)

    def _get_in_time(self, timeout: float | None) -> DeadlineConnection:
        context = current_timeout()
        seconds = self.timeout if timeout is None else timeout
        budget = None
        if context is not None:
            budget = context if context.layer == LAYER else context.child_budget(LAYER)
            seconds = min(seconds, budget.remaining())
        started = monotonic()
        deadline = started + seconds
        try:
            connection = self._get_working(seconds, deadline)
        except TooManyRequests as error:
            if context is None:
                raise
            raise TooManyWaiting from error
        except PoolTimeout as error:
            if budget is None:
                raise
            raise _unavailable(budget) from error
        finally:
            self._metrics.wait.observe(monotonic() - started)
        self._metrics.in_use.inc()
        connection.checked_out_at = started
        if self._checked_out is not None:
            with self._checked_out_lock:
                self._checked_out[connection] = os.dup(connection.fileno())
        return connection

    def _get_working(self, seconds: float, deadline: float) -> DeadlineConnection:
        """Return a working connection; ``deadline`` is ``seconds`` from now, on monotonic().

        The gauge ``waiting`` counts clients that find no idle connection, or a broken one.
        """
        stats = self.get_stats()
        self._report_size(stats["pool_size"])
        waits = not stats["pool_available"]
        if waits:
            self._metrics.waiting.inc()
        try:
            connection = self._wait_for_one(seconds) if waits else super().getconn(seconds)
            while self._check_on_checkout and not _works(connection, deadline):
                self._discard_broken(connection)
                if not waits:
                    waits = True
                    self._metrics.waiting.inc()
                connection = self._wait_for_one(deadline - monotonic())
            return connection
        finally:
            if waits:
                self._metrics.waiting.dec()

    def _wait_for_one(self, seconds: float) -> DeadlineConnection:
        with slot_released():
            return super().getconn(seconds)

    def putconn(self, conn: DeadlineConnection) -> None:
        """Take ``conn`` back; the pool replaces a broken one."""
        conn.last_used = monotonic()
        self._metrics.in_use.dec()
        if self._checked_out is not None:
            with self._checked_out_lock:
                os.close(self._checked_out.pop(conn))
        super().putconn(conn)

    def close(self, timeout: float = 5.0) -> None:
        """Close the pool, and report its size as zero."""
        super().close(timeout)
        self._report_size(0)
        self._metrics.limit.set(0)

    def terminate_connections(self) -> None:
        """End all connections in use: their users get an error instead of waiting further.

        The method shuts down a duplicate of each descriptor. The user may close the original at
        any moment, and the operating system then gives its number to another file.
        """
        with self._checked_out_lock:
            for descriptor in (self._checked_out or {}).values():
                with socket.socket(fileno=os.dup(descriptor)) as duplicate, suppress(OSError):
                    duplicate.shutdown(socket.SHUT_RDWR)

    def _report_size(self, size: int) -> None:
        if size != self._reported_size:
            self._reported_size = size
            self._metrics.size.set(size)

    def _discard_broken(self, connection: DeadlineConnection) -> None:
        """Close a broken connection, and every other idle one that is broken."""
        silent = connection.overdue
        connection.close()
        super().putconn(connection)
        if silent:
            self.drain()  # a check of each idle connection would take CHECK_LIMIT
        else:
            self._check_idle()

    def _check_idle(self) -> None:
        with activate(TimeoutContext.start("check", CHECK_LIMIT)):
            self.check()

    def _configure_in_time(self, connection: DeadlineConnection) -> None:
        """Configure a new connection; a server that freezes meanwhile cannot block the worker."""
        with activate(TimeoutContext.start("connect", self._connect_limit)):
            self._configure_connection(connection)
        connection.last_used = monotonic()
        self._failures = 0
        self._report_size(self.get_stats()["pool_size"])
        self._metrics.limit.set(self.max_size)

    def _retry_connecting(self, _pool: ConnectionPool[Any]) -> None:
        """Continue after a delay when the pool has failed to connect and clients wait."""
        self._failures += 1
        policy = backoff()
        policy.sleep(policy.delay(self._failures - 1))
        if self.get_stats().get("requests_waiting"):
            self._check_idle()  # which lets the pool grow


def release_connections() -> None:
    """Give back the connections of this thread at the end of a request.

    A request thread keeps a sound one for its next request: a checkout costs about as much as a
    statement. The thread gives the connection back once it has been idle for a moment
    (``pcf.concurrency.IDLE_AFTER``), or ``MAX_KEPT`` seconds after the checkout. The pool has a
    connection for each thread, so no other thread waits for a kept one.
    """
    keeps = in_greenlet() or in_pool_thread()
    for wrapper in connections.all(initialized_only=True):
        connection = wrapper.connection
        if connection is None:
            continue
        now = monotonic()
        if (
            keeps
            and isinstance(connection, DeadlineConnection)
            and now - connection.checked_out_at < MAX_KEPT
            and not wrapper.errors_occurred
            and connection.autocommit
            and connection.pgconn.transaction_status == TransactionStatus.IDLE
        ):
            connection.last_used = now
        else:
            wrapper.close_if_unusable_or_obsolete()


def check_kept_connections() -> None:
    """Give back the kept connections of this thread that are broken, before a request.

    A server that has to be asked has ``CHECK_LIMIT`` seconds, or what is left of the request.
    """
    for wrapper in connections.all(initialized_only=True):
        connection = wrapper.connection
        if isinstance(connection, DeadlineConnection):
            context = current_timeout()
            left = CHECK_LIMIT if context is None else min(CHECK_LIMIT, context.remaining())
            if not _works(connection, monotonic() + left):
                wrapper.close()


def _unavailable(budget: TimeoutContext) -> DeadlineExceeded | DatabaseUnavailable:
    return budget.exceeded() if budget.expired else DatabaseUnavailable()


def _works(connection: DeadlineConnection, deadline: float) -> bool:
    """Return whether the connection works; the server has until ``deadline`` (monotonic).

    The socket of an idle connection holds nothing but the server's last message or the end of the
    stream. A connection with an empty socket that was used lately is taken to work. Otherwise the
    function asks the server.
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


def wait_for_database(seconds: float, *, wanted: int = 0, using: str = "default") -> bool:
    """Wait at most about ``seconds`` until PostgreSQL answers, and return whether it does.

    The function retries with the engine's backoff. It logs the error at once, every
    ``LOG_INTERVAL`` seconds, and at the end. ``wanted`` is the number of connections that all pools
    may open; the function logs a warning when PostgreSQL allows fewer. The function connects
    outside the pool, so a process that forks afterwards holds no connection.
    """
    context = TimeoutContext.start("startup", seconds)
    started = monotonic()
    logged, problem = None, "no attempt was made"
    retries = replace(backoff(), attempts=sys.maxsize).retries(context)
    for _ in chain((None,), retries):
        try:
            version, allowed = _version_and_limit(using, context)
        except psycopg.Error as error:
            problem = " ".join(str(error).split())
            now = monotonic()
            if logged is None or now - logged >= LOG_INTERVAL:
                logged = now
                text = "waiting for PostgreSQL (%.0f of %g s): %s"
                logger.warning(text, now - started, seconds, problem)
            continue
        if logged is not None:
            logger.warning("PostgreSQL %s answers after %.1f s", version, monotonic() - started)
        if wanted > allowed:
            text = "the pools may want %d connections, PostgreSQL allows %d (max_connections)"
            logger.warning(text, wanted, allowed)
        return True
    logger.error("PostgreSQL did not answer within %g s: %s", seconds, problem)
    return False


def _version_and_limit(using: str, context: TimeoutContext) -> tuple[str, int]:
    """Return the server's version and the number of connections for ordinary users."""
    params = connections[using].get_connection_params()
    params["connect_timeout"] = max(1, round(min(CONNECT_TIMEOUT, context.remaining())))
    with psycopg.connect(**params, autocommit=True) as connection:
        row = connection.execute(
            "SELECT current_setting('server_version'), current_setting('max_connections')::int"
            " - current_setting('superuser_reserved_connections')::int"
        ).fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM has one row
    return row[0], row[1]
