"""The cursors that all statements go through: each runs under its budget."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import psycopg
from django.db import Error, transaction
from django.db.backends.postgresql import base
from django.db.backends.utils import CursorWrapper

from pcf import metrics
from pcf.apps import config
from pcf.database.errors import ConnectionLost, OutOfResources
from pcf.database.pool import backoff
from pcf.database.reads import Asked, Outcome, PreparedReads, ReadText, Rows
from pcf.database.retry import is_out_of_resources, lost_reason, may_repeat
from pcf.database.statements import Watch, template_text, with_limit
from pcf.errors import ClientError
from pcf.timeouts import current_timeout

if TYPE_CHECKING:
    from pcf.database.backend.base import DatabaseWrapper


class DeadlineCursor(CursorWrapper):
    """Runs every statement under its budget, writes it down, repeats what may be repeated.

    Raises ``InsufficientTime`` before and ``DeadlineExceeded`` after the server is involved, and
    ``ConnectionLost`` when the connection broke inside a TimeoutContext; there ``OutOfResources``,
    too, when the server is short of something.
    """

    db: "DatabaseWrapper"

    def _execute(self, sql: Any, params: Any, *_ignored: Any) -> Any:
        if self.db.commits_alone(sql):
            with transaction.atomic(self.db.alias):
                return self._execute(sql, params)
        return self.run(sql, params)

    def run(self, sql: Any, params: Any) -> Any:
        """Execute a statement that is known to commit nothing of its own."""
        try:
            return self._once(sql, params)
        except Error as error:
            reason = self._lost(error)
            if reason is None:
                if current_timeout() is not None and is_out_of_resources(error.__cause__):
                    raise OutOfResources from error
                raise
            return self._again(error, reason, sql, params)

    def _once(self, sql: Any, params: Any) -> Any:
        if isinstance(self.cursor, psycopg.ServerCursor):
            with self._alone(sql):
                return super()._execute(sql, params)  # type: ignore[misc]
        watch = Watch(self.cursor.connection, sql)
        try:
            result = self._send(watch.limit, sql, params)
        except BaseException as error:
            self._failed(watch, error)
            raise
        watch.done()
        return result

    def _send(self, limit: str, sql: Any, params: Any) -> Any:
        if not limit:
            return super()._execute(sql, params)  # type: ignore[misc]
        result = super()._execute(with_limit(limit, sql), params)  # type: ignore[misc]
        self.cursor.nextset()  # past the answer to the SET
        return result

    def _failed(self, watch: Watch, error: BaseException) -> None:
        """Close ``watch``; raise the deadline's error when ``error`` was its doing."""
        cause = error.__cause__ if isinstance(error, Error) else error
        late = watch.failed(cause or error)
        if late is not None:
            if self.cursor.connection.closed:
                self.db.abandon()
            raise late from error

    def _lost(self, error: Error) -> str | None:
        """Why the connection broke; None when ``error`` is of another kind."""
        if isinstance(error, ClientError):
            return None
        return lost_reason(error.__cause__, self.cursor.connection)

    def _again(self, error: Error, reason: str, sql: Any, params: Any) -> Any:
        """The connection broke: repeat a SELECT that may be, outside a transaction.

        At most ``database.retry_attempts`` times, inside the deadline, each on a fresh connection.
        """
        db = self.db
        if db.abandon() and type(self.cursor) is base.Cursor and may_repeat(template_text(sql)):
            for _ in backoff().repetitions(current_timeout()):
                metrics.db_retries.labels(reason).inc()
                try:
                    db.ensure_connection()
                    self.cursor = db.create_cursor()
                    return self._once(sql, params)
                except Error as another:
                    next_reason = self._lost(another)
                    if next_reason is None:
                        raise
                    error, reason = another, next_reason
                    db.abandon()
        raise _lost_error(error)

    def _executemany(self, sql: Any, param_list: Any, *ignored: Any) -> Any:
        if self.db.commits_alone(sql):
            with transaction.atomic(self.db.alias):
                return self._executemany(sql, param_list, *ignored)
        with self._alone(sql):
            return super()._executemany(sql, param_list, *ignored)  # type: ignore[misc]

    def callproc(
        self,
        procname: str,
        params: Sequence[Any] | None = None,
        kparams: dict[str, int] | None = None,
    ) -> Any:
        """As Django's, under the statement's budget."""
        with self._alone(f"CALL {procname}"):
            return super().callproc(procname, params, kparams)

    @contextmanager
    def copy(self, statement: Any, params: Any = None, **options: Any) -> Iterator[Any]:
        """As psycopg's ``Cursor.copy``; the whole exchange counts as one statement."""
        alone = self.db.commits_alone(statement)
        with (
            transaction.atomic(self.db.alias) if alone else nullcontext(),
            self._alone(statement),
            self.db.wrap_database_errors,
            self.cursor.copy(statement, params, **options) as copy,
        ):
            yield copy

    def stream(self, sql: Any, params: Any = None, **options: Any) -> Iterator[Any]:
        """As psycopg's ``Cursor.stream``; one statement until the last row was taken."""
        with self._alone(sql), self.db.wrap_database_errors:
            yield from self.cursor.stream(sql, params, **options)

    @contextmanager
    def _alone(self, sql: Any) -> Iterator[None]:
        """Watch a statement that cannot share its message with a SET; it is never repeated."""
        self.db.validate_no_broken_transaction()
        try:
            with self.db.wrap_database_errors:
                watch = Watch(self.cursor.connection, sql, alone=True)
            try:
                yield
            except BaseException as error:
                self._failed(watch, error)
                raise
            watch.done()
        except Error as error:
            if self._lost(error) is None:
                raise
            self.db.abandon()
            raise _lost_error(error) from error.__cause__


class Reader(DeadlineCursor):
    """Reads all rows of a statement, which the server prepares when that can be.

    It cannot in a transaction, where a failure to prepare would be the transaction's, nor together
    with a limit of the statement's own, nor where sessions are shared.
    """

    def __init__(self, cursor: Any, db: "DatabaseWrapper") -> None:
        super().__init__(cursor, db)
        self.timezone = db.timezone  # as which times are read

    _read = ReadText("", b"")
    _found: Rows = []
    keeps_rows = False  # the cursor does, of its last statement

    def rows(self, read: ReadText, params: Sequence[Any]) -> Rows:
        """All rows. Raises what executing raises."""
        self._read, self.keeps_rows = read, False
        self.run(read.text, params)
        found, self._found = self._found, []
        return found

    def read_ahead(self, asked: Sequence[Asked]) -> PreparedReads | None:
        """Send what will be read next at once, where that can be: ``rows`` finds it then, in this
        order. What fails here fails there. Returns where it is.
        """
        connection, reads = self.cursor.connection, self._reads()
        if reads is None:
            return None
        try:
            if not Watch(connection, asked[0][0].text).limit:
                reads.read_ahead(asked, self._begin)
        except Exception:  # noqa: BLE001 - no time, or a parameter that cannot be: the reader is told
            reads.forget_ahead()
        finally:
            connection.deadline = None
        return reads

    def _begin(self, read: ReadText) -> "Watch | _Refused":
        """It is the turn of ``read``, whose time counts from now on."""
        try:
            return Watch(self.cursor.connection, read.text)
        except ClientError as error:
            return _Refused(error)

    def _once(self, sql: Any, params: Any) -> Any:
        connection = self.cursor.connection
        reads: PreparedReads | None = connection.reads
        if reads is not None and reads.is_ahead:
            if not connection.autocommit:  # a transaction reads what is there now
                reads.forget_ahead()
            elif self._take(reads, reads.ahead(self._read, params)):
                return
        super()._once(sql, params)

    def _take(self, reads: PreparedReads, outcome: Outcome | None) -> bool:
        """Whether something was sent ahead and has rows; else it is to be sent now."""
        if outcome is None:
            return False
        try:
            with self.db.wrap_database_errors:
                found = reads.rows_of(outcome)
        except BaseException as error:
            self._failed(outcome.watch, error)
            raise
        if found is None:
            return False
        outcome.watch.done()
        self._found = found
        return True

    def _send(self, limit: str, sql: Any, params: Any) -> Any:
        reads = None if limit else self._reads()
        if reads is not None:
            with self.db.wrap_database_errors:
                found = reads.rows(self._read, params)
            if found is not None:
                self._found = found
                return
        self.keeps_rows = True
        super()._send(limit, sql, params)
        self._found = self.fetchall()

    def _reads(self) -> PreparedReads | None:
        """Where statements are prepared, if they may be now."""
        connection = self.cursor.connection
        if not connection.autocommit or not connection.keeps_session_limit:
            return None
        reads: PreparedReads | None = connection.reads
        if reads is None or reads.timezone is not self.timezone:
            size = config().database.prepared_statements
            if not size:
                return None
            reads = PreparedReads(connection, self.cursor, self.timezone, size)
            connection.reads = reads
        return reads


class _Refused:
    """Takes the place of a Watch: the statement was sent, but when it was its turn there was no
    time left for it. Who reads it is told.
    """

    def __init__(self, error: ClientError) -> None:
        self._error = error

    def stop(self) -> None:
        """Nothing to stop."""

    def done(self) -> None:
        """Raise the error."""
        raise self._error

    def failed(self, _error: BaseException) -> ClientError:
        """The error."""
        return self._error


def _lost_error(error: Error) -> Error:
    """What a broken connection is reported as: Django's ``error`` itself outside a request."""
    if current_timeout() is None:
        return error
    lost = ConnectionLost()
    lost.__cause__ = error
    return lost


class DeadlineDebugCursor(base.CursorDebugWrapper, DeadlineCursor):
    """Django's logging cursor (DEBUG, CaptureQueriesContext) with the same guards."""

    @contextmanager
    def copy(self, statement: Any, *args: Any, **options: Any) -> Iterator[Any]:
        """As ``DeadlineCursor.copy``, logged."""
        with (
            self.debug_sql(template_text(statement)),
            DeadlineCursor.copy(self, statement, *args, **options) as copy,
        ):
            yield copy
