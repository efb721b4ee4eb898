"""A psycopg connection that bounds every wait and remembers its ``statement_timeout``."""

import logging
import select
from collections.abc import Callable
from threading import Thread
from time import monotonic
from typing import Any

import psycopg
from psycopg import capabilities
from psycopg.abc import RV, PQGen
from psycopg.pq import TransactionStatus

from pcf._compat.psycopg import WaitTimeout
from pcf.concurrency import slot_released
from pcf.database.prepared_statements import PreparedReads
from pcf.database.query_log import note_exchange
from pcf.database.snapshots import SnapshotConnection
from pcf.greenlets import RequestGreenlet, current_greenlet, in_thread
from pcf.timeouts import TimeoutContext, current_timeout

logger = logging.getLogger("pcf.database")

LAYER = "database"
GRACE = 0.5  # seconds that the server has to report its own timeout
SHORT_GRACE = 0.02  # the same, when the layer above has no more time
TRANSACTION_CONTROL = 1.0  # seconds that COMMIT, ROLLBACK and the like have after the deadline
CANCEL_TIMEOUT = 5.0  # seconds that the server has to accept a request to cancel a statement
CANCEL_WAIT = 0.1  # seconds of these that the request's own thread waits
UNKNOWN = -1  # the server's limit is not known, so the next statement sends its limit

# Names a start of the server. A crash of a session's process does not change the server's start
# time, but the recovery from it resets the statistics.
SERVER_START = """
SELECT pg_catalog.concat_ws(
    ' ', extract(epoch FROM pg_catalog.pg_postmaster_start_time()),
    extract(epoch FROM pg_catalog.pg_stat_get_bgwriter_stat_reset_time())
)"""

SessionHook = Callable[[str, str], None]  # takes the alias of the database and a SERVER_START
_session_hooks: list[SessionHook] = []  # filled when the apps are ready

_WAIT_INTERVAL = 0.1  # seconds between two looks at signals; psycopg's own value
_IDLE = TransactionStatus.IDLE
_INERROR = TransactionStatus.INERROR


def add_session_hook(hook: SessionHook) -> None:
    """Call ``hook(alias, server_start)`` for every new session, before the session is used."""
    if hook not in _session_hooks:
        _session_hooks.append(hook)


def run_session_hooks(alias: str, server_start: str) -> None:
    """Call every hook for a new session of the database ``alias``."""
    for hook in _session_hooks:
        hook(alias, server_start)


class StatementOverdue(psycopg.OperationalError):
    """The server stayed silent past the deadline; the connection was closed."""


class DeadlineConnection(SnapshotConnection):
    """A connection that remembers its ``statement_timeout`` and bounds every wait.

    A *limit* is a value of ``statement_timeout`` in milliseconds. None stands for the server's own
    value, which ``RESET`` restores.

    * A statement that needs the session's limit sends nothing in addition. Another limit goes in
      front of the statement, in the same message, so it costs no round trip.
    * In autocommit mode that message is one implicit transaction. ``SET LOCAL`` ends with it, so a
      shorter limit never reaches the next user of a pooled connection.
    * In a transaction ``SET LOCAL`` ends with the transaction; ``local_limit`` follows it.

    When the server does not answer (it is frozen, or the network is gone), it cannot apply its own
    timeout. Then ``wait`` closes the connection ``GRACE`` seconds after the deadline, asks the
    server to cancel the statement, and raises ``StatementOverdue``.

    A connection has one user at a time.
    """

    session_limit: int | None = None
    local_limit: int | None = None
    _has_local_limit: bool = False
    deadline: float | None = None  # of the statement that runs now, on time.monotonic()
    has_timer: bool = False  # whether a StatementTimer records the statement that runs now
    keeps_session_limit: bool = True  # False when a pooler shares sessions
    opened_at: float = 0.0  # on time.monotonic(); set by the backend
    last_used: float = 0.0  # on time.monotonic(); set by the pool
    checked_out_at: float = 0.0  # likewise
    overdue: bool = False  # closed because the server stayed silent
    prepared_reads: PreparedReads | None = None  # None until the first read
    read_cursor: Any = None  # the backend's cursor for reads; it stays with the connection

    def limit_sql(self, limit: int | None, usual: int) -> str:
        """Return the SQL that sets ``limit`` for the next statement; empty when it is set already.

        The caller sends the SQL in front of the statement, in the same simple query. It calls
        ``limit_applied`` afterwards. ``usual`` is the limit that a session may keep.
        """
        status = self.pgconn.transaction_status
        if status == _IDLE:
            self._has_local_limit = False
            if self.autocommit:
                return self._autocommit_sql(limit, usual)
        elif status == _INERROR:
            return ""  # the server accepts nothing but ROLLBACK
        if limit == (self.local_limit if self._has_local_limit else self.session_limit):
            return ""
        self._has_local_limit = True
        self.local_limit = limit
        return f"SET LOCAL statement_timeout = {'DEFAULT' if limit is None else limit}; "

    def _autocommit_sql(self, limit: int | None, usual: int) -> str:
        if limit == self.session_limit:
            return ""
        if limit is None:
            return "RESET statement_timeout; "
        if limit == usual and self.keeps_session_limit:
            return f"SET statement_timeout = {limit}; "
        if self.begins_snapshot:  # the limit holds for the whole transaction
            self._has_local_limit, self.local_limit = True, limit
        return f"SET LOCAL statement_timeout = {limit}; "

    def end_snapshot(self) -> None:
        """End the transaction of the snapshot. A rollback undoes a ``SET`` of the session, too."""
        if self.pgconn.transaction_status == _INERROR:
            self.session_limit = UNKNOWN
        super().end_snapshot()

    def limit_applied(self, sql: str) -> None:
        """Remember the session's new limit after a message with ``sql`` has succeeded."""
        if sql.startswith("SET statement_timeout = "):
            self.session_limit = int(sql[24:-2])
        elif sql.startswith("RESET"):
            self.session_limit = None

    def apply_limit(self, limit: int | None, usual: int) -> None:
        """Set the limit in a round trip of its own, for statements that are sent alone.

        COPY and DDL are such statements. In autocommit mode the session keeps the limit until the
        next statement needs another. When a pooler shares sessions, the limit would reach other
        clients; there only ``wait`` bounds such statements.
        """
        sql = self.limit_sql(limit, usual)
        if sql.startswith("SET LOCAL") and not self._has_local_limit:
            # SET LOCAL would end with its own message
            sql = f"SET {sql.removeprefix('SET LOCAL ')}" if self.keeps_session_limit else ""
        if sql:
            self.execute(sql.removesuffix("; "))
            self.limit_applied(sql)

    def limit_changed(self, *, in_request: bool) -> None:
        """Take note that the caller's own SET or RESET of the limit was executed.

        Inside a request the next statement sends its limit again. Outside of requests the
        connection keeps the caller's value.
        """
        self.session_limit = UNKNOWN if in_request else None
        self.local_limit = self.session_limit

    def forget_local_limit(self) -> None:
        """Have the next statement of a transaction send its limit.

        The last ``SET LOCAL`` was not sent, or ROLLBACK TO may have undone it.
        """
        self.local_limit = UNKNOWN

    def is_lost(self) -> bool:
        """Return whether the connection is known to be broken; sends nothing.

        Between two statements the socket holds nothing but the server's last message or the end of
        the stream.
        """
        if self.closed:
            return True
        poll = select.poll()
        poll.register(self.pgconn.socket, select.POLLIN)
        try:
            for _ in range(2):  # the server's last message, the end of the stream
                if not poll.poll(0):
                    break
                self.pgconn.consume_input()
        except psycopg.OperationalError:
            return True
        return self.closed

    def wait(
        self, gen: PQGen[RV], interval: float = _WAIT_INTERVAL, timeout: float | None = None
    ) -> RV:
        """Run ``gen``, as psycopg's method does, until the statement's or the request's deadline.

        Without a deadline the method waits without a bound. Raises StatementOverdue.
        """
        # psycopg sends every exchange with the server through this method (pcf._compat.psycopg)
        if not self.has_timer:
            note_exchange()  # a cursor of psycopg's own may have sent a statement
        seconds = self._time_to_wait() if timeout is None else timeout
        current = current_greenlet()
        try:
            if current is not None:
                return _wait_in_greenlet(gen, self.pgconn.socket, seconds, current)
            with slot_released():
                return super().wait(gen, interval, seconds)
        except WaitTimeout:
            if timeout is not None:
                raise
            self.overdue = True
            self._cancel_and_close()
            raise StatementOverdue("the server did not answer within the deadline") from None

    def _time_to_wait(self) -> float | None:
        """Return the seconds that the server has; None without a deadline."""
        context = current_timeout()
        if self.deadline is not None:
            return _time_to_answer(self.deadline, context)
        return None if context is None else max(context.remaining(), TRANSACTION_CONTROL)

    def _cancel_and_close(self) -> None:
        """Ask the server to cancel the statement, and close the connection.

        The server's own limit ends the statement when only the network is down. COPY behind a
        pooler has no such limit, so the server has to be asked. The request precedes the close,
        because a pooler forgets the statement's owner when the connection closes. The request uses
        a connection of its own, which may be as silent as this one; so a thread sends it.
        """
        if capabilities.has_cancel_safe():
            thread = Thread(target=self._cancel, daemon=True)
            thread.start()
            with slot_released():
                in_thread(thread.join, CANCEL_WAIT)
        self.close()

    def _cancel(self) -> None:
        try:
            self.cancel_safe(timeout=CANCEL_TIMEOUT)
        except psycopg.Error as error:
            logger.warning("PostgreSQL did not cancel a statement past its deadline: %s", error)


def _wait_in_greenlet(
    gen: PQGen[RV], socket: int, seconds: float | None, current: RequestGreenlet
) -> RV:
    """Run ``gen`` as psycopg does (``psycopg.waiting``), but wait for the socket in a greenlet.

    Raises WaitTimeout after ``seconds``.
    """
    end = None if seconds is None else monotonic() + seconds
    try:
        wanted = next(gen)
        while True:
            ready = current.wait_for_socket(socket, wanted, seconds)
            if not ready:
                raise WaitTimeout
            wanted = gen.send(ready)
            if end is not None:
                seconds = end - monotonic()
    except StopIteration as ended:
        found: RV = ended.value
        return found


def _time_to_answer(deadline: float, context: TimeoutContext | None) -> float:
    """Return the seconds that the server has to answer: to ``deadline``, and ``GRACE`` beyond.

    The time ends with the layer above, which has its own response to send.
    """
    latest = deadline + GRACE
    if context is not None and context.layer != LAYER:
        latest = max(min(latest, context.deadline), deadline + SHORT_GRACE)
    return max(latest - monotonic(), SHORT_GRACE)
