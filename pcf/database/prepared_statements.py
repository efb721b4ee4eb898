"""SELECTs that a connection prepares, and sends one by one or as a pipeline.

A statement is prepared at its second use. PostgreSQL then plans it once, and libpq sends its
parameters alone. Several prepared statements can be sent with one message (libpq's pipeline mode).
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from datetime import tzinfo
from itertools import count
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection
from psycopg.abc import AdaptContext, Buffer
from psycopg.pq import Escaping, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult

from pcf._compat.psycopg import (
    RowAdapter,
    error_of,
    exclusive,
    receive_pipelined_result,
    receive_result,
)

Rows = list[tuple[Any, ...]]

_numbers = count(1)  # of the names of prepared statements

# States of a statement that has no name on the server
_NEW = b""  # used once; sent as text
_REFUSED = b"-"  # the server cannot determine the types of its parameters

# After these errors the statement is sent as text. A column may have another type, or the session
# may have discarded its statements. An error of the statement itself occurs again then.
_ERRORS_OF_PREPARATION = (
    psycopg.errors.FeatureNotSupported,
    psycopg.errors.InvalidSqlStatementName,
    psycopg.ProgrammingError,
    psycopg.DataError,
)


class ReadStatement(NamedTuple):
    """A SELECT in two spellings: with ``%s`` for a cursor, with ``$1`` for the server.

    PostgreSQL plans a prepared statement for all values alike. ``has_own_plans`` says that the best
    plan depends on the values, as with a search. Such a statement is never prepared.
    """

    text: str
    numbered: bytes
    has_own_plans: bool = False


Meanwhile = Callable[[], None] | None

ReadRequest = tuple[ReadStatement, Sequence[Any]]
"""A SELECT and its parameters."""


class PipelineResult(NamedTuple):
    """The result or the error of a SELECT of a pipeline, and the timer of its statement."""

    request: ReadRequest
    result: PGresult | psycopg.Error
    timer: Any


class PreparedReads:
    """The prepared statements of one connection; the ``size`` used last are kept.

    The object belongs to the user of the connection. It is not thread-safe. When PostgreSQL cannot
    prepare a statement, ``prepare`` returns None and the caller sends the text.
    """

    def __init__(
        self,
        connection: "Connection[Any]",
        context: AdaptContext,
        timezone: tzinfo | None,
        size: int,
    ) -> None:
        """``context`` adapts values; ``timezone`` is the zone of its timestamps."""
        self.timezone = timezone
        self._connection = connection
        self._size = size
        self._names: OrderedDict[bytes, bytes] = OrderedDict()
        self._adapter = RowAdapter(context)
        self._results: deque[PipelineResult] = deque()

    def rows(
        self, read: ReadStatement, name: bytes, parameters: Sequence[Any],
        *, begin: bytes = b"", end: bytes = b"", meanwhile: Meanwhile = None,
    ) -> Rows | None:  # fmt: skip
        """Return all rows of the prepared statement ``name``; None when the server has lost it.

        ``begin`` and ``end`` are statements without rows that travel before and after the SELECT in
        the same message. ``meanwhile`` runs while the server works, where all bytes are sent at
        once. The connection is in autocommit mode. Raises psycopg's errors.
        """
        connection, pgconn = self._connection, self._connection.pgconn
        values = self._adapter.dump(parameters)
        with exclusive(connection):
            if begin or end:
                execute = _execute_sql(connection, name, values)
                pgconn.send_query(b"; ".join(filter(None, (begin, execute, end))))
            else:
                pgconn.send_query_prepared(name, values)
            if meanwhile is not None and not pgconn.flush():
                meanwhile()
            result = receive_result(connection, 1 if begin else 0)
        return self._load(read, result)

    def are_prepared(self, requests: Sequence[ReadRequest]) -> bool:
        """Return whether ``send_pipeline`` can send all ``requests``."""
        if self._results or any(read.has_own_plans for read, _ in requests):
            return False
        names = {self._names.get(read.numbered, _NEW) for read, _ in requests}
        return not (_NEW in names or _REFUSED in names)

    def send_pipeline(
        self, requests: Sequence[ReadRequest], timer_of: Callable[[ReadStatement], Any],
        *, in_transaction: bool = False, begin: bytes = b"", end: bytes = b"",
        meanwhile: Meanwhile = None,
    ) -> None:  # fmt: skip
        """Send ``requests``, which ``are_prepared``, with one message and receive their results.

        ``next_result`` returns the results, errors included. When the connection fails, the results
        end with the error. ``timer_of`` returns the timer of a statement; the method calls it
        before it waits for the statement. ``begin`` and ``end`` are statements without rows that
        travel before the first and after the last SELECT. ``in_transaction`` says that the SELECTs
        share a transaction; otherwise each is one of its own. ``meanwhile`` is as in ``rows``. The
        connection is in autocommit mode.
        """
        for read, _ in requests:
            self._names.move_to_end(read.numbered)
        values = [self._adapter.dump(parameters) for _, parameters in requests]
        connection, pgconn = self._connection, self._connection.pgconn
        with exclusive(connection):
            try:
                pgconn.enter_pipeline_mode()
                self._send_all(requests, values, begin, end, in_transaction=in_transaction)
                if meanwhile is not None and not pgconn.flush():
                    meanwhile()
                before, after = (1 if begin else 0), (0 if in_transaction else 1)
                for request in requests[:-1]:
                    self._receive(request, timer_of(request[0]), before, after)
                    before = 0
                after = 2 if end else 1
                self._receive(requests[-1], timer_of(requests[-1][0]), before, after)
                pgconn.exit_pipeline_mode()
            except BaseException as error:
                connection.close()  # further results may arrive that no statement waits for
                if not isinstance(error, psycopg.Error):
                    raise

    def _send_all(
        self, requests: Sequence[ReadRequest], values: Sequence[Sequence[Any]], begin: bytes,
        end: bytes, *, in_transaction: bool,
    ) -> None:  # fmt: skip
        """Send what ``send_pipeline`` has been asked for; ``values`` are the parameters as text."""
        pgconn = self._connection.pgconn
        if begin:
            pgconn.send_query_params(begin, [])
        for (read, _), each in zip(requests, values, strict=True):
            pgconn.send_query_prepared(self._names[read.numbered], each)
            if in_transaction:
                pgconn.send_flush_request()  # each result comes as soon as it is known
            else:
                pgconn.pipeline_sync()
        if end:
            pgconn.send_query_params(end, [])
        if in_transaction:
            pgconn.pipeline_sync()

    def _receive(self, request: ReadRequest, timer: Any, before: int, after: int) -> None:
        """Wait for the result of the next SELECT of the pipeline."""
        try:
            result = receive_pipelined_result(self._connection, before, after)
        except psycopg.Error as error:
            self._results.append(PipelineResult(request, error, timer))
            raise
        finally:
            timer.stop()
        self._results.append(PipelineResult(request, result, timer))

    @property
    def has_results(self) -> bool:
        """Whether a pipeline has left results."""
        return bool(self._results)

    def next_result(self, read: ReadStatement, parameters: Sequence[Any]) -> PipelineResult | None:
        """Return the next result of the pipeline if it belongs to this SELECT.

        Otherwise the method discards all results and returns None. Raises IndexError when there is
        no result.
        """
        found = self._results.popleft()
        if found.request[0] is read and found.request[1] == parameters:
            return found
        self._results.clear()
        return None

    def rows_of(self, found: PipelineResult) -> Rows | None:
        """Return the rows of a result, or raise its error, as ``rows`` does."""
        if isinstance(found.result, psycopg.Error):
            raise found.result
        return self._load(found.request[0], found.result)

    def discard_results(self) -> None:
        """Discard the results of a pipeline."""
        self._results.clear()

    def _load(self, read: ReadStatement, result: PGresult) -> Rows | None:
        if result.status == ExecStatus.PIPELINE_ABORTED:
            return None  # a SELECT before it has failed
        if result.status == ExecStatus.FATAL_ERROR:
            error = error_of(result, self._connection)
            if isinstance(error, psycopg.errors.InFailedSqlTransaction):
                return None  # a SELECT before it ended the snapshot
            if isinstance(error, _ERRORS_OF_PREPARATION):
                self._deallocate(read.numbered)
                return None
            raise error
        return self._adapter.load(result)

    def prepare(self, read: ReadStatement) -> bytes | None:
        """Count a use of the statement, and prepare it at the second one.

        Returns the statement's name on the server; None when it has none. Raises psycopg's errors.
        """
        if read.has_own_plans:
            return None
        key = read.numbered
        name = self._names.get(key)
        if name is None:
            if len(self._names) >= self._size:
                self._deallocate(next(iter(self._names)))
            self._names[key] = _NEW
            return None
        self._names.move_to_end(key)
        if name is _NEW:
            name = self._names[key] = self._prepare(key)
        return None if name is _REFUSED else name

    def _prepare(self, text: bytes) -> bytes:
        name = b"pcf_%d" % next(_numbers)
        connection = self._connection
        with exclusive(connection):
            connection.pgconn.send_prepare(name, text)
            result = receive_result(connection)
        if result.status != ExecStatus.FATAL_ERROR:
            return name
        error = error_of(result, connection)
        if isinstance(error, psycopg.ProgrammingError):
            return _REFUSED
        raise error

    def _deallocate(self, text: bytes) -> None:
        """Forget a statement, here and on the server."""
        name = self._names.pop(text)
        if name is _NEW or name is _REFUSED:
            return
        connection = self._connection
        if connection.pgconn.transaction_status == TransactionStatus.INERROR:
            return  # the server accepts nothing but ROLLBACK; the session's end forgets it
        with exclusive(connection):
            connection.pgconn.send_query(b"DEALLOCATE " + name)
            receive_result(connection)  # an error means that the server has forgotten it already


def _execute_sql(
    connection: "Connection[Any]", name: bytes, values: Sequence[Buffer | None]
) -> bytes:
    """Return the SQL that runs a prepared statement: it may share its message with others."""
    escape = Escaping(connection.pgconn).escape_literal
    literals = [b"NULL" if value is None else bytes(escape(value)) for value in values]
    return b"EXECUTE %b(%b)" % (name, b", ".join(literals)) if literals else b"EXECUTE %b" % name
