"""One snapshot for all statements of a query, so that its answer shows one moment.

A ``one_snapshot`` block declares that its reads belong together. On each connection that the block
reads from, the first SELECT begins a transaction (REPEATABLE READ, READ ONLY) in its own message.
The last SELECT, where it is known, ends the transaction in its message as well; otherwise the end
of the block does. A block with one SELECT needs no transaction.

A statement that writes ends the transaction before it runs, and so does ``transaction.atomic``.
Statements after that read the present.

A snapshot is *lost* when its connection breaks, or when PostgreSQL ends its transaction because a
statement failed. ``Snapshot.lost`` has the reason, and the caller repeats the whole block. In a
*careful* snapshot a savepoint guards each statement, so that an error does not end the
transaction.
"""

from collections.abc import Callable
from contextvars import ContextVar
from threading import get_ident
from typing import Any, Self

import psycopg
from psycopg.pq import TransactionStatus

from pcf._compat.psycopg import exclusive, receive_result

BEGIN = b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
END = b"COMMIT"

# Reasons of ``Snapshot.lost``; the others are those of ``pcf.database.retry``.
STATEMENT_FAILED = "statement_failed"
LATE_STATEMENT = "late_statement"
ERRORS_OF_STATEMENTS = {STATEMENT_FAILED, LATE_STATEMENT}

_SAVEPOINT = "SAVEPOINT pcf_read"
_IDLE = TransactionStatus.IDLE
_INERROR = TransactionStatus.INERROR


class Snapshot:
    """The snapshot of one block, and its context manager. It belongs to the thread of the block.

    Attributes:
        is_careful: Whether a savepoint guards each statement.
        is_last: Whether the statements that are sent next as a pipeline are the last ones.
        has_others: Whether other fields may need time after the statement that is sent next.
        before_statement: A function that runs before the next statement of a Django cursor.
        while_waiting: A function that runs once, while PostgreSQL works on the next statements. It
            sends no statement, which would wait for its own thread, and raises no Exception.
        lost: The reason why the block has to be repeated, or None.
        thread: The thread whose SELECTs belong to the snapshot; None when the block is over.
    """

    __slots__ = (
        "_connections", "_is_complete", "_token", "before_statement", "has_others", "is_careful",
        "is_last", "lost", "thread", "while_waiting",
    )  # fmt: skip

    def __init__(self, *, careful: bool) -> None:
        self._connections: list[SnapshotConnection] = []
        self.thread: int | None = get_ident()
        self._is_complete = True
        self.is_careful = careful
        self.is_last = False
        self.has_others = True
        self.before_statement: Callable[[], None] | None = None
        self.while_waiting: Callable[[], None] | None = None
        self.lost: str | None = None

    def __enter__(self) -> Self:
        self._token = _current.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)
        self.end()

    def add(self, connection: "SnapshotConnection") -> None:
        """Note that ``connection`` begins a transaction of the snapshot."""
        if connection not in self._connections:
            self._connections.append(connection)

    def run_before_statement(self) -> None:
        """Run ``before_statement`` once, unless there is none."""
        function, self.before_statement = self.before_statement, None
        if function is not None:
            function()

    def run_while_waiting(self) -> None:
        """Run ``while_waiting`` once, unless there is none."""
        function, self.while_waiting = self.while_waiting, None
        if function is not None:
            function()

    def lose(self, reason: str) -> None:
        """Have the caller repeat the block, unless a statement has reached its time limit."""
        if self._is_complete:
            self.lost = self.lost or reason

    def give_up(self) -> None:
        """Note that a statement has reached its time limit: there is no time to repeat the block.

        The statements after it read another snapshot. The answer has an error then.
        """
        self._is_complete = False

    def end(self) -> None:
        """End the transactions on all connections; later statements read the present."""
        self.thread = None
        for connection in self._connections:
            if connection.snapshot is not self:
                continue
            if connection.pgconn.transaction_status == _IDLE:  # its last message ended it
                connection.snapshot, connection.begins_snapshot = None, False
            else:
                connection.end_snapshot()


_current: ContextVar[Snapshot | None] = ContextVar("pcf_snapshot", default=None)


def current_snapshot() -> Snapshot | None:
    """Return the snapshot that SELECTs of this thread belong to; None outside of a block."""
    snapshot = _current.get()
    return snapshot if snapshot is not None and snapshot.thread == get_ident() else None


def leaves_time() -> bool:
    """Return whether the next statement has to leave time for other fields of its query."""
    snapshot = current_snapshot()
    return snapshot is not None and snapshot.has_others and not snapshot.is_last


def one_snapshot(*, careful: bool = False) -> Snapshot:
    """Return a context manager whose SELECTs all read one snapshot of each database."""
    return Snapshot(careful=careful)


class SnapshotConnection(psycopg.Connection[Any]):
    """The part of a connection that knows the snapshot whose transaction it is in."""

    snapshot: Snapshot | None = None
    begins_snapshot: bool = False  # whether the next message begins the transaction
    snapshot_reads: int = 0  # statements of the snapshot that have returned their rows
    has_timer: bool = False
    _has_savepoint: bool = False

    def join_snapshot(self, current: Snapshot) -> bool:
        """Join the current snapshot; return whether the next SELECT has to begin a transaction."""
        own, status = self.snapshot, self.pgconn.transaction_status
        if own is not None and (own is not current or status in (_IDLE, _INERROR)):
            if self.snapshot_reads:
                own.lose(LATE_STATEMENT)  # its transaction has ended
            self.end_snapshot()
            own, status = None, self.pgconn.transaction_status
        begins = own is None and status == _IDLE and self.autocommit
        if begins:
            current.add(self)
            self.snapshot, self.snapshot_reads, self._has_savepoint = current, 0, False
        self.begins_snapshot = begins
        return begins

    def snapshot_prefix(self, current: Snapshot) -> str:
        """Return the SQL that goes in front of a SELECT that is sent as text."""
        if self.join_snapshot(current):
            return f"{BEGIN.decode()}; "
        if self.snapshot is None:
            return ""
        release = f"RELEASE {_SAVEPOINT}; " if self._has_savepoint else ""
        self._has_savepoint = True
        return f"{release}{_SAVEPOINT}; "

    def snapshot_succeeded(self) -> None:
        """Note that a SELECT of the snapshot has returned its rows."""
        self.begins_snapshot = False
        self.snapshot_reads += 1

    def snapshot_failed(self, *, overdue: bool) -> None:
        """After a SELECT failed: go back to its savepoint, or end the transaction.

        ``overdue`` says that the SELECT has reached its time limit.
        """
        snapshot, self.begins_snapshot = self.snapshot, False
        if snapshot is None:
            return
        if overdue:
            snapshot.give_up()
        if self.closed or self.pgconn.transaction_status != _INERROR:
            return
        if self._has_savepoint:
            self._control(f"ROLLBACK TO {_SAVEPOINT}".encode())
            return
        if self.snapshot_reads:
            snapshot.lose(STATEMENT_FAILED)
        self.end_snapshot()

    def end_snapshot(self) -> None:
        """End the transaction of the snapshot."""
        self.snapshot, self.begins_snapshot = None, False
        if not self.closed and self.pgconn.transaction_status != _IDLE:
            self._control(END)

    def _control(self, sql: bytes) -> None:
        self.has_timer = True  # the exchange reads nothing that a response would depend on
        try:
            with exclusive(self):
                self.pgconn.send_query(sql)
                receive_result(self)
        except psycopg.Error:
            self.close()
        finally:
            self.has_timer = False
