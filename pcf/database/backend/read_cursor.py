"""The cursor for the reads of loaders: prepared statements, alone or as a pipeline."""

from collections.abc import Sequence
from functools import partial
from time import monotonic
from typing import Any

from pcf.conf import config
from pcf.database.backend.cursors import CursorOwner, DeadlineCursor
from pcf.database.prepared_statements import (
    PipelineResult,
    PreparedReads,
    ReadRequest,
    ReadStatement,
    Rows,
)
from pcf.database.snapshots import BEGIN, END, Snapshot, current_snapshot
from pcf.database.statements import StatementTimer
from pcf.errors import ClientError


class ReadCursor(DeadlineCursor):
    """A cursor that reads all rows of a statement, with a prepared statement when possible.

    The cursor prepares nothing in a transaction other than the snapshot's, because an error of the
    preparation would fail the transaction. It prepares nothing for a statement with a limit of its
    own, nor when a pooler shares sessions. In these cases, and when the preparation fails, the
    cursor sends the text.
    """

    def __init__(self, cursor: Any, db: CursorOwner) -> None:
        super().__init__(cursor, db)
        self.timezone = db.timezone  # the zone of the timestamps that the cursor reads

    _read = ReadStatement("", b"")
    _rows: Rows = []
    keeps_rows = False  # psycopg's cursor holds the rows of its last statement

    def rows(self, read: ReadStatement, params: Sequence[Any]) -> Rows:
        """Return all rows of the statement. Raises the errors of ``execute``."""
        self._read, self.keeps_rows = read, False
        self.run(read.text, params)
        rows, self._rows = self._rows, []
        return rows

    def send_pipeline(self, requests: Sequence[ReadRequest]) -> PreparedReads | None:
        """Send with one message the SELECTs that ``rows`` reads next, in this order.

        Returns the place of the results; None when a pipeline is not possible. The method raises no
        error: ``rows`` raises the error of its statement.
        """
        connection, snapshot = self.cursor.connection, current_snapshot()
        reads = self._prepared_reads(snapshot)
        if reads is None:
            return None
        begin = end = b""
        meanwhile = None
        try:
            # the deadline holds for the preparation, too: it waits for a table that is locked
            timer = StatementTimer(connection, requests[0][0].text)
            if timer.limit or not reads.are_prepared(requests):
                timer.stop()
                return reads
            if snapshot is not None:
                begin = BEGIN if connection.join_snapshot(snapshot) else b""
                end = END if snapshot.is_last else b""
                meanwhile = snapshot.run_while_waiting
            in_snapshot = connection.snapshot is not None
            reads.send_pipeline(
                requests, partial(self._timer_of, monotonic()), in_transaction=in_snapshot,
                begin=begin, end=end, meanwhile=meanwhile,
            )  # fmt: skip
        except Exception:  # noqa: BLE001 - no time, or an invalid parameter: rows() raises it again
            reads.discard_results()
        finally:
            connection.deadline = None
            connection.has_timer = connection.begins_snapshot = False
        return reads

    def _timer_of(self, sent_at: float, read: ReadStatement) -> "StatementTimer | _RefusedTimer":
        """Return the timer of a statement of the pipeline, which starts now."""
        try:
            return StatementTimer(self.cursor.connection, read.text, sent_at=sent_at)
        except ClientError as error:
            return _RefusedTimer(error)

    def _run_once(self, sql: Any, params: Any) -> Any:
        connection = self.cursor.connection
        reads: PreparedReads | None = connection.prepared_reads
        if reads is not None and reads.has_results:
            if not connection.autocommit:  # a transaction reads the present rows
                reads.discard_results()
            elif self._take(reads, reads.next_result(self._read, params)):
                return
        snapshot = current_snapshot()
        if snapshot is None or not self._run_in_snapshot(snapshot, params):
            super()._run_once(sql, params)

    def _run_in_snapshot(self, snapshot: Snapshot, params: Any) -> bool:
        """Run the prepared statement in ``snapshot``; return False when its text has to be sent."""
        connection, read, reads = self.cursor.connection, self._read, self._prepared_reads(snapshot)
        if reads is None:
            return False
        begins = connection.join_snapshot(snapshot)
        timer = StatementTimer(connection, read.text)
        # the only statement of its snapshot needs no transaction
        begin = BEGIN if begins and not snapshot.is_last else b""
        end = END if snapshot.is_last and not begins else b""
        name = rows = None
        try:
            with self.db.wrap_database_errors:
                if not timer.limit:
                    name = reads.prepare(read)
                if name is not None:
                    meanwhile = snapshot.run_while_waiting
                    rows = reads.rows(read, name, params, begin=begin, end=end, meanwhile=meanwhile)
        except BaseException as error:
            self._failed(timer, error)
            raise
        if rows is None:
            timer.stop()
            if name is not None:
                connection.snapshot_failed(overdue=False)
            return False
        timer.done()
        connection.snapshot_succeeded()
        self._rows = rows
        return True

    def _take(self, reads: PreparedReads, found: PipelineResult | None) -> bool:
        """Take the rows of a pipeline's result; return False when the result has no rows."""
        if found is None:
            return False
        connection = self.cursor.connection
        try:
            with self.db.wrap_database_errors:
                rows = reads.rows_of(found)
        except BaseException as error:
            self._failed(found.timer, error)
            raise
        if rows is None:
            connection.snapshot_failed(overdue=False)
            return False
        found.timer.done()
        if connection.snapshot is not None:
            connection.snapshot_succeeded()
        self._rows = rows
        return True

    def _send(self, prefix: str, sql: Any, params: Any) -> Any:
        reads = None if prefix else self._prepared_reads(current_snapshot())
        if reads is not None:
            with self.db.wrap_database_errors:
                name = reads.prepare(self._read)
                rows = None if name is None else reads.rows(self._read, name, params)
            if rows is not None:
                self._rows = rows
                return
        self.keeps_rows = True
        super()._send(prefix, sql, params)
        self._rows = self.fetchall()

    def _prepared_reads(self, snapshot: Snapshot | None) -> PreparedReads | None:
        """Return the connection's prepared statements; None when they cannot be used now."""
        connection = self.cursor.connection
        if not connection.autocommit or not connection.keeps_session_limit:
            return None
        if snapshot is not None and snapshot.is_careful:
            return None
        reads: PreparedReads | None = connection.prepared_reads
        if reads is None or reads.timezone is not self.timezone:
            size = config().database.prepared_statements
            if not size:
                return None
            reads = PreparedReads(connection, self.cursor, self.timezone, size)
            connection.prepared_reads = reads
        return reads


class _RefusedTimer:
    """The timer of a statement of a pipeline for which no time was left.

    The statement was sent, but its time was up before its turn. ``done`` raises the error.
    """

    def __init__(self, error: ClientError) -> None:
        self._error = error

    def stop(self) -> None:
        """Do nothing."""

    def done(self) -> None:
        """Raise the error."""
        raise self._error

    def failed(self, _error: BaseException) -> ClientError:
        """Return the error."""
        return self._error
