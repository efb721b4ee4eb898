"""psycopg 3.3: waits with a timeout, and the extended query protocol on one connection.

psycopg does not document these names, which this module and ``pcf.database.connection`` use:

* ``errors._WaitTimeout``: ``Connection.wait`` raises it when its ``timeout`` has passed.
* ``Connection.wait(gen, interval, timeout)``: all cursors of a connection wait through it, so
  ``DeadlineConnection`` overrides it.
* ``Connection.lock``: one thread at a time talks to the server.
* ``generators.execute``, ``generators.send``, ``generators.fetch_many``.
* ``adapt.Transformer``: ``dump_sequence``, ``set_pgresult``, ``load_rows``.
* ``errors.error_from_result``.
* The text of the error when a connection fails. libpq does not tell the SQLSTATE there. It writes
  two spaces after the severity of an error that the server has sent.

Verified with psycopg 3.3.
"""

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import psycopg
from psycopg.abc import AdaptContext, PQGen
from psycopg.adapt import PyFormat, Transformer
from psycopg.generators import execute, fetch_many, send
from psycopg.pq.abc import PGconn, PGresult

WaitTimeout: type[psycopg.OperationalError] = psycopg.errors._WaitTimeout  # noqa: SLF001

Connection = psycopg.Connection[Any]
Row = tuple[Any, ...]

# A server that starts or stops serves no client: "the database system is starting up".
_REFUSED = re.compile(r"failed: \w+:  (?!the database system is )")


def is_refusal(error: BaseException) -> bool:
    """Return whether a server that serves other clients has refused a connection."""
    return isinstance(error, psycopg.OperationalError) and bool(_REFUSED.search(str(error)))


def exclusive(connection: Connection) -> AbstractContextManager[Any]:
    """Return the lock that a thread holds while it sends and receives on ``connection``."""
    return connection.lock


def receive_result(connection: Connection, index: int = -1) -> PGresult:
    """Flush what was sent on ``connection`` and return the result ``index``, or an error before it.

    The result is the last one by default.

    The function waits through ``connection.wait``. The caller holds ``exclusive(connection)``.
    """
    results: list[PGresult] = connection.wait(execute(connection.pgconn))
    return results[min(index, len(results) - 1)]


def receive_pipelined_result(connection: Connection, before: int, after: int) -> PGresult:
    """Return the result of the next SELECT of a pipeline.

    The function discards the results of as many commands ``before`` and ``after`` it; a sync point
    is a command. The function waits through ``connection.wait``. The caller holds
    ``exclusive(connection)``. Raises OperationalError when the connection was lost.
    """
    return connection.wait(_pipelined_result(connection.pgconn, before, after))


def _pipelined_result(pgconn: PGconn, before: int, after: int) -> PQGen[PGresult]:
    yield from send(pgconn)
    for _ in range(before):
        yield from fetch_many(pgconn)
    results: list[PGresult] = yield from fetch_many(pgconn)
    for _ in range(after):
        yield from fetch_many(pgconn)
    if not results:
        raise psycopg.OperationalError("the connection was lost before")
    return results[-1]


def error_of(result: PGresult, connection: Connection) -> psycopg.Error:
    """Return the exception that stands for a result with the status FATAL_ERROR."""
    return psycopg.errors.error_from_result(result, connection.info.encoding)


class RowAdapter:
    """Adapt parameters and rows of statements that do not go through a cursor.

    An adapter belongs to one connection. It is not thread-safe.
    """

    def __init__(self, context: AdaptContext) -> None:
        self._transformer = Transformer(context)

    def dump(self, parameters: Sequence[Any]) -> Sequence[Any]:
        """Return ``parameters`` in PostgreSQL's text format."""
        return self._transformer.dump_sequence(parameters, [PyFormat.TEXT] * len(parameters))

    def load(self, result: PGresult) -> list[Row]:
        """Return all rows of ``result`` as tuples of Python values."""
        transformer = self._transformer
        transformer.set_pgresult(result)
        rows: list[Row] = transformer.load_rows(0, result.ntuples, tuple)
        transformer.set_pgresult(None)  # a result may be large
        return rows
