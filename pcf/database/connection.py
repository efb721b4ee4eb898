"""A psycopg connection that knows its statement limit and never waits for ever in a request."""

import logging
import select
from threading import Thread
from time import monotonic
from typing import Any

import psycopg
from psycopg import capabilities, generators, waiting
from psycopg.abc import RV, PQGen
from psycopg.pq import TransactionStatus
from psycopg.pq.abc import PGcancelConn

from pcf.compute import slot_released
from pcf.database.reads import PreparedReads
from pcf.timeouts import TimeoutContext, current_timeout

logger = logging.getLogger("pcf.database")

GRACE = 0.5  # seconds the server has to report its own timeout before the client gives it up
SHORT_GRACE = 0.02  # seconds, where the layer above has no more to give
HOUSEKEEPING = 1.0  # seconds that COMMIT, ROLLBACK and the like get even after the deadline
_INTERVAL = 0.1  # seconds between looks at signals while waiting, psycopg's own value

_IDLE = TransactionStatus.IDLE
_INERROR = TransactionStatus.INERROR
CANCEL = 5.0  # seconds that a request to cancel a statement may take
CANCEL_WAIT = 0.1  # seconds of them that are waited for
LAYER = "database"
UNKNOWN = -1  # the limit on the server is not known: whatever is wanted has to be sent


class StatementOverdue(psycopg.OperationalError):
    """The server stayed silent past the deadline; the connection was closed."""


class Connection(psycopg.Connection[Any]):
    """Remembers which ``statement_timeout`` the server has, and guards every wait.

    Limits are in milliseconds; None stands for the server's own value (what ``RESET`` restores).

    * A limit equal to the session's costs nothing. Another one travels in front of the statement,
      in the same message, so it costs no round trip.
    * In autocommit mode that message is one implicit transaction, so ``SET LOCAL`` ends with it:
      a tight limit cannot reach the next user of a pooled connection.
    * In a transaction ``SET LOCAL`` ends with the transaction; ``local_limit`` follows it.

    When the server does not answer (frozen, network gone) it cannot honour its timeout either:
    ``wait`` then closes the connection ``GRACE`` seconds after the deadline, has the statement
    cancelled, and raises ``StatementOverdue``.
    """

    session_limit: int | None = None
    local_limit: int | None = None
    _local: bool = False
    deadline: float | None = None  # of the statement that runs now, on time.monotonic()
    keeps_session_limit: bool = True  # False behind a pooler that shares sessions
    last_used: float = 0.0  # on time.monotonic(); the pool's
    overdue: bool = False  # closed because the server stayed silent
    reads: PreparedReads | None = None  # what is prepared here; where sessions are not shared
    reader: Any = None  # the backend's cursor for reads, for whoever has the connection

    def limit_sql(self, wanted: int | None, usual: int) -> str:
        """SQL that gives the next statement ``wanted`` ms; empty when it has them already.

        ``usual`` is the limit worth keeping for the session. The result must be sent in front of
        the statement in the same simple query; then report ``limit_applied``.
        """
        status = self.pgconn.transaction_status
        if status == _IDLE:
            self._local = False
            if self.autocommit:
                return self._autocommit_sql(wanted, usual)
        elif status == _INERROR:
            return ""  # nothing but ROLLBACK is accepted
        if wanted == (self.local_limit if self._local else self.session_limit):
            return ""
        self._local = True
        self.local_limit = wanted
        return f"SET LOCAL statement_timeout = {'DEFAULT' if wanted is None else wanted}; "

    def _autocommit_sql(self, wanted: int | None, usual: int) -> str:
        if wanted == self.session_limit:
            return ""
        if wanted is None:
            return "RESET statement_timeout; "
        if wanted == usual and self.keeps_session_limit:
            return f"SET statement_timeout = {wanted}; "
        return f"SET LOCAL statement_timeout = {wanted}; "

    def limit_applied(self, sql: str) -> None:
        """The message with ``sql`` of ``limit_sql`` succeeded: remember a session's new limit."""
        if sql.startswith("SET statement_timeout = "):
            self.session_limit = int(sql[24:-2])
        elif sql.startswith("RESET"):
            self.session_limit = None

    def limit_separately(self, wanted: int | None, usual: int) -> None:
        """Set the limit in a round trip of its own, for what cannot share a message (COPY, DDL).

        In autocommit mode it is the session's until the next statement wants another. Where
        sessions are shared that would reach strangers: there only ``wait`` guards such statements.
        """
        sql = self.limit_sql(wanted, usual)
        if sql.startswith("SET LOCAL") and not self._local:  # would end with its own message
            sql = f"SET {sql.removeprefix('SET LOCAL ')}" if self.keeps_session_limit else ""
        if sql:
            self.execute(sql.removesuffix("; "))
            self.limit_applied(sql)

    def set_by_hand(self, *, limited: bool) -> None:
        """The caller's own SET or RESET of the limit was executed.

        Outside a request (``limited`` False) the caller's value is left alone from here on.
        """
        self.session_limit = UNKNOWN if limited else None
        self.local_limit = self.session_limit

    def rolled_back_to_savepoint(self) -> None:
        """ROLLBACK TO may have undone a ``SET LOCAL``: send the next limit in any case."""
        self.local_limit = UNKNOWN

    def lost(self) -> bool:
        """Whether the connection is known to be broken; looks at the socket, asks nobody.

        Between statements there is nothing to read but the server's farewell or the stream's end.
        """
        if self.closed:
            return True
        poll = select.poll()
        poll.register(self.pgconn.socket, select.POLLIN)
        try:
            for _ in range(2):  # the farewell, the end of the stream
                if not poll.poll(0):
                    break
                self.pgconn.consume_input()
        except psycopg.OperationalError:
            return True
        return self.closed

    def wait(self, gen: PQGen[RV], interval: float = _INTERVAL, timeout: float | None = None) -> RV:
        """As psycopg's, bounded by the statement's or the request's deadline.

        Raises ``StatementOverdue`` past it; outside of both it waits as long as it takes.
        """
        with slot_released():
            return self._wait(gen, interval, timeout)

    def _wait(self, gen: PQGen[RV], interval: float, timeout: float | None) -> RV:
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        context = current_timeout()
        if self.deadline is not None:
            left = self._patience(self.deadline, context)
        elif context is None:
            return super().wait(gen, interval)
        else:
            left = max(context.remaining(), HOUSEKEEPING)
        try:
            return super().wait(gen, interval, left)
        except psycopg.errors._WaitTimeout:  # noqa: SLF001 (the only name psycopg gives it)
            self.overdue = True
            self._give_up()
            raise StatementOverdue("the server did not answer within the deadline") from None

    @staticmethod
    def _patience(deadline: float, context: TimeoutContext | None) -> float:
        """Seconds to wait for a statement's answer: to its deadline and ``GRACE`` beyond, but not
        beyond that of the layer above, which has an answer to give.
        """
        latest = deadline + GRACE
        if context is not None and context.layer != LAYER:
            latest = max(min(latest, context.deadline), deadline + SHORT_GRACE)
        return max(latest - monotonic(), SHORT_GRACE)

    def _give_up(self) -> None:
        """Have the statement cancelled and close the connection.

        The server's own limit ends what is at work behind a network that is not; but where none
        could be sent along the server has to be told, and before the connection is closed, since
        a pooler then forgets whose statement it is. That takes another connection, which may be
        as silent as this one and is waited for a moment only.
        """
        if capabilities.has_cancel_safe():
            cancel = Thread(target=_cancel, args=(self.pgconn.cancel_conn(),), daemon=True)
            cancel.start()
            cancel.join(CANCEL_WAIT)
        self.close()


def _cancel(cancel: PGcancelConn) -> None:
    """Ask the server to cancel what a connection that was given up still runs."""
    try:
        cancel.start()
        waiting.wait_conn(generators.cancel(cancel), interval=_INTERVAL, timeout=CANCEL)
    except psycopg.Error as error:  # it is away altogether
        logger.warning("a statement that was given up could not be cancelled: %s", error)
    finally:
        cancel.finish()
