"""The cursors of the backend: each statement runs under its budget."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import tzinfo
from typing import Any, Protocol

import psycopg
from django.db import Error, transaction
from django.db.backends.postgresql import base

from pcf._compat.django_db import StatementCursor
from pcf.database.retry import (
    backoff,
    is_out_of_resources,
    is_read_only,
    lost_reason,
    may_retry,
)
from pcf.database.snapshots import current_snapshot
from pcf.database.sql_text import (
    INVALID_TERMINATION,
    StatementKind,
    effect_of,
    kind_of,
    template_text,
)
from pcf.database.statements import StatementTimer, with_limit
from pcf.errors import ClientError, ConnectionLost, OutOfResources, ReadOnlyDatabase
from pcf.observability import metrics
from pcf.timeouts import current_timeout


class CursorOwner(Protocol):
    """The parts of ``DatabaseWrapper`` that its cursors use."""

    alias: str

    @property
    def timezone(self) -> tzinfo | None:
        """The zone of the connection's timestamps."""

    @property
    def wrap_database_errors(self) -> Any:
        """A context manager that turns psycopg's errors into Django's."""

    def abandon(self) -> bool:
        """Give up a broken connection; return whether the next statement gets another."""

    def commits_alone(self, sql: Any) -> bool:
        """Return whether the server would commit ``sql`` without the commit hooks."""

    def create_cursor(self) -> Any:
        """Return a cursor of psycopg's."""

    def ensure_connection(self) -> None:
        """Connect unless there is a connection."""

    def renew_sessions(self) -> None:
        """Replace the sessions that are older than the state of the server."""

    def validate_no_broken_transaction(self) -> None:
        """Raise TransactionManagementError in a transaction that has failed."""


class DeadlineCursor(StatementCursor):
    """A cursor that runs each statement under its budget, records it, and retries safe reads.

    Raises ``InsufficientTime`` before a statement is sent, and ``DeadlineExceeded`` afterwards.

    When the connection breaks inside a TimeoutContext, the cursor retries an idempotent read on a
    new connection, outside of transactions; otherwise it raises ``ConnectionLost``. When the server
    takes no writes, the cursor raises ``ReadOnlyDatabase``; when the server lacks a resource,
    ``OutOfResources``. Outside a TimeoutContext it raises Django's errors.
    """

    db: CursorOwner

    def run_statement(self, sql: Any, params: Any) -> Any:
        """Execute a statement; one that writes in autocommit mode gets its own transaction.

        A procedure that commits by itself runs without one: PostgreSQL refuses its COMMIT inside a
        transaction of the caller, and then nothing of it is done.
        """
        snapshot = current_snapshot()
        if snapshot is not None:
            snapshot.run_before_statement()
        if not self.db.commits_alone(sql):
            return self.run(sql, params)
        try:
            with transaction.atomic(self.db.alias):
                return self.run(sql, params)
        except Error as error:
            state = getattr(error.__cause__, "sqlstate", None)
            if state != INVALID_TERMINATION or not effect_of(template_text(sql)).is_procedure:
                raise
        return self.run(sql, params)

    def run(self, sql: Any, params: Any) -> Any:
        """Execute a statement that commits nothing by itself."""
        try:
            return self._run_once(sql, params)
        except Error as error:
            snapshot = current_snapshot() if self.cursor.connection.autocommit else None
            if snapshot is not None and is_read_only(error):  # a function in a SELECT writes
                snapshot.end()
                return self.run(sql, params)
            reason = self._lost_reason(error)
            if reason is None:
                self._raise_unavailable(error)
                raise
            return self._retry(error, reason, sql, params)

    def _raise_unavailable(self, error: Error) -> None:
        """Raise the error of a server that takes no writes, or lacks a resource.

        Return for any other error, and outside a TimeoutContext.
        """
        read_only = is_read_only(error.__cause__)
        if read_only:
            self.db.renew_sessions()
        if current_timeout() is not None:
            if read_only:
                raise ReadOnlyDatabase from error
            if is_out_of_resources(error.__cause__):
                raise OutOfResources from error

    def _run_once(self, sql: Any, params: Any) -> Any:
        if isinstance(self.cursor, psycopg.ServerCursor):
            with self._sent_alone(sql):
                return self.send_statement(sql, params)
        connection = self.cursor.connection
        prefix = self._snapshot_prefix(sql)
        timer = StatementTimer(connection, sql)
        try:
            result = self._send(prefix + timer.limit, sql, params)
        except BaseException as error:
            self._failed(timer, error)
            raise
        timer.done()
        if connection.snapshot is not None:
            connection.snapshot_succeeded()
        return result

    def _snapshot_prefix(self, sql: Any) -> str:
        """Return the SQL that makes ``sql`` a part of the current snapshot; empty without one."""
        snapshot = current_snapshot()
        if snapshot is None:
            return ""
        if kind_of(sql) is StatementKind.QUERY:
            prefix: str = self.cursor.connection.snapshot_prefix(snapshot)
            return prefix
        snapshot.end()  # it may be a statement that writes
        return ""

    def _send(self, prefix: str, sql: Any, params: Any) -> Any:
        """Send a statement behind ``prefix``, which is empty or ends each statement with "; "."""
        if not prefix:
            return self.send_statement(sql, params)
        result = self.send_statement(with_limit(prefix, sql), params)
        for _ in range(prefix.count("; ")):
            self.cursor.nextset()  # skips the result of a statement of the prefix
        return result

    def _failed(self, timer: StatementTimer, error: BaseException) -> None:
        """Record a failed statement; raise the deadline's error when the deadline was the cause."""
        cause = error.__cause__ if isinstance(error, Error) else error
        late = timer.failed(cause or error)
        self.cursor.connection.snapshot_failed(overdue=late is not None)
        if late is not None:
            if self.cursor.connection.closed:
                self.db.abandon()
            raise late from error

    def _lost_reason(self, error: Error) -> str | None:
        """Return the reason why the connection broke; None when ``error`` has another cause."""
        if isinstance(error, ClientError):
            return None
        return lost_reason(error.__cause__, self.cursor.connection)

    def _retry(self, error: Error, reason: str, sql: Any, params: Any) -> Any:
        """Send an idempotent SELECT again after the connection broke, outside of transactions.

        There are at most ``database.retry_attempts`` retries, inside the deadline, each on a new
        connection.
        """
        db, connection = self.db, self.cursor.connection
        snapshot, in_time = connection.snapshot, connection.snapshot_reads == 0
        if snapshot is not None and not in_time:
            snapshot.lose(reason)  # a new connection has another snapshot
        repeatable = in_time and type(self.cursor) is base.Cursor
        if db.abandon() and repeatable and may_retry(template_text(sql)):
            for _ in backoff().retries(current_timeout()):
                metrics.db_retries.labels(reason).inc()
                try:
                    db.ensure_connection()
                    self.cursor = db.create_cursor()
                    return self._run_once(sql, params)
                except Error as another:
                    next_reason = self._lost_reason(another)
                    if next_reason is None:
                        raise
                    error, reason = another, next_reason
                    db.abandon()
        raise _lost_error(error)

    def run_many(self, sql: Any, param_list: Any) -> Any:
        """Execute a statement for many rows of parameters, under one budget."""
        if self.db.commits_alone(sql):
            with transaction.atomic(self.db.alias):
                return self.run_many(sql, param_list)
        with self._sent_alone(sql):
            return self.send_many(sql, param_list)

    def _own_transaction(self, sql: Any) -> AbstractContextManager[Any]:
        """Return the transaction of a statement that writes in autocommit mode."""
        alone = self.db.commits_alone(sql)
        return transaction.atomic(self.db.alias) if alone else nullcontext()

    def callproc(
        self,
        procname: str,
        params: Sequence[Any] | None = None,
        kparams: dict[str, int] | None = None,
    ) -> Any:
        """Call a procedure under the statement's budget."""
        call = f"SELECT * FROM {procname}()"  # noqa: S608 (the text is not sent)
        with self._own_transaction(call), self._sent_alone(f"CALL {procname}"):
            return super().callproc(procname, params, kparams)

    @contextmanager
    def copy(self, statement: Any, params: Any = None, **options: Any) -> Iterator[Any]:
        """Run COPY as psycopg's ``Cursor.copy`` does; the whole exchange is one statement."""
        with (
            self._own_transaction(statement),
            self._sent_alone(statement),
            self.db.wrap_database_errors,
            self.cursor.copy(statement, params, **options) as copy,
        ):
            yield copy

    def stream(self, sql: Any, params: Any = None, **options: Any) -> Iterator[Any]:
        """Stream rows as psycopg's ``Cursor.stream`` does; the budget lasts to the last row."""
        with (
            self._own_transaction(sql),
            self._sent_alone(sql),
            self.db.wrap_database_errors,
        ):
            yield from self.cursor.stream(sql, params, **options)

    @contextmanager
    def _sent_alone(self, sql: Any) -> Iterator[None]:
        """Time a statement that cannot share its message with a SET; it is never retried."""
        self.db.validate_no_broken_transaction()
        try:
            with self.db.wrap_database_errors:
                timer = StatementTimer(self.cursor.connection, sql, alone=True)
            try:
                yield
            except BaseException as error:
                self._failed(timer, error)
                raise
            timer.done()
        except Error as error:
            if self._lost_reason(error) is None:
                self._raise_unavailable(error)
                raise
            self.db.abandon()
            raise _lost_error(error) from error.__cause__


def _lost_error(error: Error) -> Error:
    """Return the error of a broken connection: Django's own outside of requests."""
    if current_timeout() is None:
        return error
    lost = ConnectionLost()
    lost.__cause__ = error
    return lost


class DeadlineDebugCursor(base.CursorDebugWrapper, DeadlineCursor):
    """``DeadlineCursor`` with Django's log of queries (DEBUG, CaptureQueriesContext)."""

    @contextmanager
    def copy(self, statement: Any, *args: Any, **options: Any) -> Iterator[Any]:
        """Run and log COPY."""
        with (
            self.debug_sql(template_text(statement)),
            DeadlineCursor.copy(self, statement, *args, **options) as copy,
        ):
            yield copy
