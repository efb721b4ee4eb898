"""Reads that PostgreSQL has prepared: neither parsed nor planned again, and no cursor in between.

A statement is prepared when a connection sends it for the second time. It then goes by its name,
its parameters as text whose types the server has inferred.

Several that are prepared can be sent at once (libpq's pipeline mode): neither server nor client
waits for the other between them.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from datetime import tzinfo
from itertools import count
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection
from psycopg.abc import AdaptContext, PQGen
from psycopg.adapt import PyFormat, Transformer
from psycopg.generators import execute, fetch_many, send
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult

from pcf.database.times import ReadContext

Rows = list[tuple[Any, ...]]

_numbers = count(1)

_NEW = b""  # sent once, by other means
_REFUSED = b"-"  # the server cannot tell the types of its parameters
# A column has another type now, or somebody has discarded all. If the statement itself is at fault,
# its text will say so.
_TO_BE_SENT_AS_TEXT = (
    psycopg.errors.FeatureNotSupported,
    psycopg.errors.InvalidSqlStatementName,
    psycopg.ProgrammingError,
    psycopg.DataError,
)


class ReadText(NamedTuple):
    """A SELECT in two spellings: with ``%s`` for a cursor, with ``$1`` for the server."""

    text: str
    numbered: bytes


Asked = tuple[ReadText, Sequence[Any]]
"""A SELECT and its parameters."""


class Outcome(NamedTuple):
    """What came of a SELECT that was sent ahead, with what ``begin`` returned for it."""

    asked: Asked
    result: PGresult | psycopg.Error
    watch: Any


def _result_and_sync(pgconn: PGconn) -> PQGen[PGresult]:
    yield from send(pgconn)
    results: list[PGresult] = yield from fetch_many(pgconn)
    yield from fetch_many(pgconn)
    if not results:
        raise psycopg.OperationalError("the connection was lost before")
    return results[-1]


class PreparedReads:
    """What one connection has prepared: ``size`` statements, those used last."""

    def __init__(
        self,
        connection: "Connection[Any]",
        context: AdaptContext,
        timezone: tzinfo | None,
        size: int,
    ) -> None:
        """``context`` says how values are adapted, to ``timezone`` among others."""
        self.timezone = timezone
        self._connection = connection
        self._size = size
        self._names: OrderedDict[bytes, bytes] = OrderedDict()
        self._transformer = Transformer(ReadContext(context, timezone))
        self._ahead: deque[Outcome] = deque()

    def rows(self, read: ReadText, parameters: Sequence[Any]) -> Rows | None:
        """All rows; None when the statement is not prepared, and somebody else has to send it.

        The connection is in autocommit mode, and idle. Raises psycopg's errors.
        """
        name = self._name(read)
        if name is None:
            return None
        connection = self._connection
        with connection.lock:
            connection.pgconn.send_query_prepared(name, self._dumped(parameters))
            result = self._result()
        return self._loaded(read, result)

    def read_ahead(self, asked: Sequence[Asked], begin: Callable[[ReadText], Any]) -> None:
        """Send SELECTs at once, all of which are prepared (otherwise this does nothing).

        ``ahead`` gives what came of them, errors included; once the connection has failed there is
        no more. ``begin`` is called when it is the turn of each. The connection is as for ``rows``.
        """
        names = [self._names.get(read.numbered) for read, _ in asked]
        if self._ahead or None in names or _NEW in names or _REFUSED in names:
            return
        for read, _ in asked:
            self._names.move_to_end(read.numbered)
        values = [self._dumped(parameters) for _, parameters in asked]
        connection, pgconn = self._connection, self._connection.pgconn
        with connection.lock:
            try:
                pgconn.enter_pipeline_mode()
                for name, each in zip(names, values, strict=True):
                    pgconn.send_query_prepared(name, each)  # type: ignore[arg-type]
                    pgconn.pipeline_sync()  # each is a transaction of its own, as when sent alone
                for one in asked:
                    self._receive(one, begin(one[0]))
                pgconn.exit_pipeline_mode()
            except BaseException as error:
                connection.close()  # more may still come, for which nobody asks any more
                if not isinstance(error, psycopg.Error):
                    raise

    def _receive(self, asked: Asked, watch: Any) -> None:
        """Wait for what comes of the next SELECT."""
        connection = self._connection
        try:
            result = connection.wait(_result_and_sync(connection.pgconn))
        except psycopg.Error as error:
            self._ahead.append(Outcome(asked, error, watch))
            raise
        finally:
            watch.stop()
        self._ahead.append(Outcome(asked, result, watch))

    @property
    def is_ahead(self) -> bool:
        """Whether there is something that was sent ahead."""
        return bool(self._ahead)

    def ahead(self, read: ReadText, parameters: Sequence[Any]) -> Outcome | None:
        """What came of a SELECT that was sent ahead, if it is the next of them; else what is left
        of them is forgotten. Raises IndexError when there is nothing.
        """
        outcome = self._ahead.popleft()
        if outcome.asked[0] is read and outcome.asked[1] == parameters:
            return outcome
        self._ahead.clear()
        return None

    def rows_of(self, outcome: Outcome) -> Rows | None:
        """As ``rows``, for a SELECT that was sent ahead."""
        if isinstance(outcome.result, psycopg.Error):
            raise outcome.result
        return self._loaded(outcome.asked[0], outcome.result)

    def forget_ahead(self) -> None:
        """Forget what came of SELECTs that were sent ahead."""
        self._ahead.clear()

    def _dumped(self, parameters: Sequence[Any]) -> Sequence[Any]:
        return self._transformer.dump_sequence(parameters, [PyFormat.TEXT] * len(parameters))

    def _loaded(self, read: ReadText, result: PGresult) -> Rows | None:
        if result.status == ExecStatus.FATAL_ERROR:
            error = psycopg.errors.error_from_result(result, self._connection.info.encoding)
            if isinstance(error, _TO_BE_SENT_AS_TEXT):
                self._remove(read.numbered)
                return None
            raise error
        transformer = self._transformer
        transformer.set_pgresult(result)
        loaded: Any = transformer.load_rows(0, result.ntuples, tuple)
        transformer.set_pgresult(None)  # which may be large
        rows: Rows = loaded
        return rows

    def _name(self, read: ReadText) -> bytes | None:
        """The statement's name on the server, None as long as it has none."""
        key = read.numbered
        name = self._names.get(key)
        if name is None:
            if len(self._names) >= self._size:
                self._remove(next(iter(self._names)))
            self._names[key] = _NEW
            return None
        self._names.move_to_end(key)
        if name is _NEW:
            name = self._names[key] = self._prepare(key)
        return None if name is _REFUSED else name

    def _prepare(self, text: bytes) -> bytes:
        name = b"pcf_%d" % next(_numbers)
        connection = self._connection
        with connection.lock:
            connection.pgconn.send_prepare(name, text)
            result = self._result()
        if result.status != ExecStatus.FATAL_ERROR:
            return name
        error = psycopg.errors.error_from_result(result, connection.info.encoding)
        if isinstance(error, psycopg.ProgrammingError):
            return _REFUSED
        raise error

    def _remove(self, text: bytes) -> None:
        """Forget a statement, here and on the server."""
        name = self._names.pop(text)
        if name is _NEW or name is _REFUSED:
            return
        with self._connection.lock:
            self._connection.pgconn.send_query(b"DEALLOCATE " + name)
            self._result()  # an error says that it has gone already

    def _result(self) -> PGresult:
        last: PGresult = self._connection.wait(execute(self._connection.pgconn))[-1]
        return last
