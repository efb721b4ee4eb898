"""Statements of row loaders that many requests share, and those that no two requests may share.

Django builds a query set once for all viewers of a kind and all arguments: a ``Parameter`` stands
for each value. That is right only while the query set depends on nothing else. So the statement is
built twice and compared, and compared again while it is in use. A query set that looks at a value,
or that differs from time to time, is built for each request instead: its rows are right, and its
response is not stored, because no write removes it when its rows change.
"""

import re
from collections.abc import Callable
from time import monotonic
from typing import Any, NamedTuple

from django.db import Error

from pcf.database.compiled_queries import CompiledQuery, take_last_look
from pcf.database.query_log import count_queries
from pcf.errors import ClientError
from pcf.lru import LRUCache

Build = Callable[[bool], CompiledQuery]
"""Builds a statement: with Parameters for True, with the values of this request for False."""

FIRST_CHECK = 1.0  # seconds after which a shared statement is compared again; then twice as many
MAX_INTERVAL = 16.0  # seconds between two comparisons

_CHANGING = re.compile(
    r"""
    "(?:[^"]|"")*"                                  # a quoted name is no call
    | (?P<function>\b(?:
        now|age|timeofday|(?:statement|clock|transaction)_timestamp
        |random|random_normal|setseed|gen_random_\w+|uuid_generate_\w+|uuidv[47]
        |nextval|currval|lastval|current_setting|txid_current\w*|pg_current_\w+
      )(?=\s*\()
      |\b(?:current_(?:timestamp|date|time|user|role)|localtime(?:stamp)?|session_user|tablesample)\b
      |'(?:now|today|tomorrow|yesterday)'(?=\)*\s*::))
    | \bE'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*'       # nor is a text
    """,
    re.VERBOSE | re.IGNORECASE,
)


class SharedStatement(NamedTuple):
    """A statement for the requests of one kind.

    ``statement`` is None when each request builds its own. ``reason`` says why a response with its
    rows must not be stored; None when it may be. ``may_pass`` says that the reason is an error of
    the query set, which may not occur again.
    """

    statement: CompiledQuery | None
    reason: str | None
    may_pass: bool = False


class _Entry:
    """A shared statement, and the time of its next comparison (monotonic)."""

    __slots__ = ("interval", "next_check", "shared")

    def __init__(self, shared: SharedStatement) -> None:
        self.shared = shared
        self.interval = FIRST_CHECK
        self.next_check = monotonic() + FIRST_CHECK


class SharedStatements:
    """The statements of a process, by loader, kind of viewer and columns. Thread-safe."""

    def __init__(self, size: int) -> None:
        self._entries: LRUCache[tuple[Any, ...], _Entry] = LRUCache(size)

    def get(self, key: tuple[Any, ...], build: Build) -> tuple[CompiledQuery, str | None]:
        """Return the statement for a request, and why its response must not be stored.

        Raises what ``build`` raises.
        """
        entry = self._entries.get(key)
        if entry is None:
            entry = _Entry(_compile(build))
            self._entries.set(key, entry)
        elif monotonic() >= entry.next_check:
            self._check(entry, build)
        shared = entry.shared
        return shared.statement or build(False), shared.reason

    def __len__(self) -> int:
        return len(self._entries)

    @staticmethod
    def _check(entry: _Entry, build: Build) -> None:
        """Compare the statement with one that is built now."""
        entry.interval = min(entry.interval * 2, MAX_INTERVAL)
        entry.next_check = monotonic() + entry.interval
        known = entry.shared.statement
        if known is None:
            if entry.shared.may_pass:
                entry.shared = _compile(build)
            return
        take_last_look()
        try:
            is_same = build(True).is_same(known)
        except (Error, ClientError):
            raise
        except Exception:  # noqa: BLE001 - the build with values raises an error of its own
            is_same = False
        look = take_last_look()
        if look is not None or not is_same:
            entry.shared = SharedStatement(None, str(look or _DIFFERS))


_DIFFERS = "differs from time to time"


def _compile(build: Build) -> SharedStatement:
    """Build a statement with Parameters, and find out whether requests may share it.

    Raises the errors of the database, and those that end the request.
    """
    take_last_look()
    try:
        with count_queries() as queries:
            first, second = build(True), build(True)
    except (Error, ClientError):
        raise
    except Exception as error:  # noqa: BLE001 - the build with values raises an error of its own
        look = take_last_look()
        problem = f"raises {type(error).__name__} without its values"
        return SharedStatement(None, str(look or problem), may_pass=look is None)
    difference = _difference(first, second, queries.count)
    if difference is not None:
        return SharedStatement(None, difference)
    for match in _CHANGING.finditer(first.text):
        if match["function"]:
            return SharedStatement(first, f"uses {match['function'].upper()}")
    return SharedStatement(first, None)


def _difference(first: CompiledQuery, second: CompiledQuery, sent: int) -> str | None:
    """Return why no two requests may share a statement that was built twice.

    The query set has sent ``sent`` statements of its own meanwhile.
    """
    look = take_last_look()
    if look is not None:  # and caught its error
        return str(look)
    if sent:
        return "sends statements of its own"
    if first.has_times:
        return "holds a date or a time, which may differ from time to time"
    return None if first.is_same(second) else _DIFFERS
