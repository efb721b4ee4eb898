"""Reads that PostgreSQL has prepared: neither parsed nor planned again, and no cursor in between.

A statement is prepared when a connection sends it for the second time. It then goes by its name,
its parameters as text whose types the server has inferred.
"""

from collections import OrderedDict
from collections.abc import Sequence
from datetime import tzinfo
from itertools import count
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection
from psycopg.abc import AdaptContext
from psycopg.adapt import PyFormat, Transformer
from psycopg.generators import execute
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

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
        self._transformer = Transformer(context)

    def rows(self, read: ReadText, parameters: Sequence[Any]) -> Rows | None:
        """All rows; None when the statement is not prepared, and somebody else has to send it.

        The connection is in autocommit mode, and idle. Raises psycopg's errors.
        """
        name = self._name(read)
        if name is None:
            return None
        transformer, connection = self._transformer, self._connection
        values = transformer.dump_sequence(parameters, [PyFormat.TEXT] * len(parameters))
        with connection.lock:
            connection.pgconn.send_query_prepared(name, values)
            result = self._result()
        if result.status == ExecStatus.FATAL_ERROR:
            error = psycopg.errors.error_from_result(result, connection.info.encoding)
            if isinstance(error, _TO_BE_SENT_AS_TEXT):
                self._remove(read.numbered)
                return None
            raise error
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
