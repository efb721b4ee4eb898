"""The statements that a level of a response sends: with rows joined to them, and as a pipeline."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from django.db import connections

from pcf.database.compiled_queries import CompiledQuery, Row, read_statement
from pcf.database.prepared_statements import ReadRequest
from pcf.database.snapshots import current_snapshot

_KEYS = "keys"  # the Parameter of the keys that a query looks rows up by
_MAX_JOINED = 16  # statements that begin with the same query


class JoinedQuery:
    """A compiled query whose rows lead to rows of other queries, as one statement. Thread-safe.

    Each of the others looks rows up by the Parameter ``keys``, and has one row at most for a key. A
    column of the first query holds its key. The others have no Parameters beside ``keys`` but those
    of the first query.
    """

    __slots__ = ("_names", "_others", "_read", "first")

    def __init__(self, first: CompiledQuery, others: Sequence[tuple[int, CompiledQuery]]) -> None:
        """``others`` holds each other query behind the position of the column with its key."""
        self.first = first
        self._others = [query for _, query in others]
        self._names = list(first.parameters)
        columns = ", ".join(f"c{index}" for index in range(first.width))
        segments = [*first.segments]
        segments[0] = f"SELECT * FROM ({segments[0]}"  # noqa: S608 - no values
        segments[-1] += f") AS pcf_row ({columns})"
        for number, (position, query) in enumerate(others):
            segments[-1] += " LEFT JOIN LATERAL ("
            start, *rest = query.segments
            segments[-1] += start
            for name, segment in zip(query.parameters, rest, strict=True):
                if name == _KEYS:
                    segments[-1] += f"ARRAY[pcf_row.c{position}]{segment}"
                else:
                    self._names.append(name)
                    segments.append(segment)
            segments[-1] += f") AS pcf_joined_{number} ON true"
        self._read = read_statement(segments)

    def request(self, values: Mapping[str, object]) -> ReadRequest:
        """Return the statement with its parameters. Raises KeyError when a value is missing."""
        return self._read, [values[name] for name in self._names]

    def rows(self, using: str, values: Mapping[str, object]) -> list[Sequence[Row | None]]:
        """Run the statement with ``values``, and return the rows of each query.

        The rows of the first query come first. Each of the other lists has an entry for each of
        these rows: the row that it leads to, or None. Raises KeyError when a value is missing, and
        ResponseTooLarge.
        """
        rows: list[Row] = connections[using].rows(*self.request(values))  # type: ignore[attr-defined]
        end = self.first.width
        found: list[Sequence[Row | None]] = [self.first.finish([row[:end] for row in rows], using)]
        for query in self._others:
            start, end = end, end + query.width
            found.append([self._joined(query, row[start:end], using) for row in rows])
        return found

    @staticmethod
    def _joined(query: CompiledQuery, row: Row, using: str) -> Row | None:
        if row.count(None) == len(row):  # no row: a row has its key
            return None
        return query.finish([row], using)[0]


def join_query(
    first: CompiledQuery, others: tuple[tuple[int, CompiledQuery], ...]
) -> CompiledQuery | JoinedQuery:
    """Return ``first`` joined with ``others`` (see JoinedQuery), from memory where it was made.

    Returns ``first`` itself when one of them has no rows, or is planned for the values of each run.
    """
    joined: CompiledQuery | JoinedQuery | None = first.joined.get(others)
    if joined is None:
        if len(first.joined) >= _MAX_JOINED:
            first.joined.clear()
        queries = (first, *(query for _, query in others))
        can_join = all(query.segments and not query.has_own_plans for query in queries)
        joined = first.joined[others] = JoinedQuery(first, others) if can_join else first
    return joined


class PlannedRead(NamedTuple):
    """A compiled query with the values of its Parameters, and the alias of its database."""

    using: str
    statement: CompiledQuery | JoinedQuery
    values: Mapping[str, Any]


@contextmanager
def pipelined(planned: Sequence[PlannedRead]) -> Iterator[None]:
    """Send the statements that the block runs next, in this order, with one message a database.

    The block runs the statements as usual and gets their rows or errors. When a pipeline is not
    possible (see ``pcf.database.prepared_statements``), each statement is sent when it is run.
    """
    sent = []
    for alias, requests in _by_alias(planned).items():
        if len(requests) > 1:
            connection: Any = connections[alias]
            reads = connection.send_pipeline(requests)
            if reads is not None:
                sent.append((connection, reads))
    snapshot = current_snapshot()
    if snapshot is not None:
        snapshot.is_last = False  # a statement that was not sent is not known to be the last one
    try:
        yield
    finally:
        for connection, reads in sent:
            connection.discard_results(reads)


def _by_alias(planned: Sequence[PlannedRead]) -> dict[str, list[ReadRequest]]:
    found: dict[str, list[ReadRequest]] = {}
    for using, statement, values in planned:
        try:
            request = statement.request(values)
        except KeyError:  # the block raises it again
            return {}
        if request is not None:
            found.setdefault(using, []).append(request)
    return found
