"""Reads that PostgreSQL has prepared: neither parsed nor planned again, and no cursor in between.

A statement is prepared when a connection sends it for the second time. It then goes by its name,
its parameters as text whose types the server has inferred.

Several that are prepared can be sent at once (libpq's pipeline mode): server and client then wake
up once for all of them. Small results come together, so which of them took how long is not known.
"""

from collections import OrderedDict, deque
from collections.abc import Sequence
from datetime import tzinfo
from itertools import count
from time import monotonic
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection
from psycopg.abc import AdaptContext, PQGen
from psycopg.adapt import PyFormat, Transformer
from psycopg.generators import execute, fetch_many, send
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

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
    """What came of a SELECT that was sent ahead: ``seconds`` after the one before, ``since`` they
    were all sent. ``others`` were sent with it.
    """

    asked: Asked
    result: PGresult | psycopg.Error
    seconds: float
    since: float
    others: Sequence[Asked]


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

    def read_ahead(self, asked: Sequence[Asked]) -> None:
        """Send SELECTs at once, all of which are prepared (otherwise this does nothing).

        ``ahead`` gives what came of them, errors included; after an error there is no more. The
        connection is as for ``rows``.
        """
        names = [self._names.get(read.numbered) for read, _ in asked]
        if self._ahead or None in names or _NEW in names or _REFUSED in names:
            return
        connection, pgconn = self._connection, self._connection.pgconn
        values = [self._dumped(parameters) for _, parameters in asked]
        started = monotonic()
        with connection.lock:
            try:
                pgconn.enter_pipeline_mode()
                for name, each in zip(names, values, strict=True):
                    pgconn.send_query_prepared(name, each)  # type: ignore[arg-type]
                pgconn.pipeline_sync()
                connection.wait(self._receive(asked))
                pgconn.exit_pipeline_mode()
            except BaseException as error:
                connection.close()  # more may still come, for which nobody asks any more
                if not isinstance(error, psycopg.Error):
                    raise
                if len(self._ahead) < len(asked):
                    seconds = monotonic() - started
                    one = asked[len(self._ahead)]
                    self._ahead.append(Outcome(one, error, seconds, seconds, asked))

    def _receive(self, asked: Sequence[Asked]) -> PQGen[None]:
        """Wait for what comes of SELECTs; nothing does of those after one that failed."""
        pgconn, sent = self._connection.pgconn, monotonic()
        yield from send(pgconn)
        before = sent
        for one in asked:
            result = (yield from fetch_many(pgconn))[-1]
            now = monotonic()
            if result.status != ExecStatus.PIPELINE_ABORTED:
                self._ahead.append(Outcome(one, result, now - before, now - sent, asked))
            before = now
        yield from fetch_many(pgconn)  # the end of it all

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
