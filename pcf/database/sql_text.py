"""The text of SQL statements: its kind, its template, its fingerprint for logs, its effect on data.

In autocommit mode a statement that may write gets a transaction with commit hooks.
"""

import re
from collections.abc import Iterator
from enum import Enum
from functools import lru_cache
from hashlib import sha256
from time import monotonic
from typing import Any, NamedTuple

import psycopg
from psycopg import sql as composing

MAX_LENGTH = 1_000  # characters of a statement in the log


class StatementKind(Enum):
    """The property of a statement that decides how its time limit is sent."""

    QUERY = "may share its message with a SET"
    TRANSACTION_CONTROL = "must work after the deadline"
    SETTING = "may change the limit of the session"
    OTHER = "must be sent alone"


_QUERY_WORDS = {"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "VALUES", "TABLE"}
_TRANSACTION_WORDS = {"SAVEPOINT", "RELEASE", "ROLLBACK", "COMMIT", "END", "ABORT"}
_SETTING_WORDS = {"SET", "RESET", "DISCARD"}
_FIRST_WORD = re.compile(r"(?:\s|\(|--[^\n]*\n|/\*.*?\*/)*([a-z]+)", re.IGNORECASE | re.DOTALL)
_COMMON = frozenset({"SELECT ", "INSERT ", "UPDATE ", "DELETE "})


def kind_of(sql: Any) -> StatementKind:
    """Return the kind of a statement, by its first word."""
    if type(sql) is str:
        return StatementKind.QUERY if sql[:7] in _COMMON else _classify(sql[:200])
    return _classify(template_text(sql)[:200])


@lru_cache(maxsize=256)
def _classify(text: str) -> StatementKind:
    match = _FIRST_WORD.match(text)
    word = match.group(1).upper() if match else ""
    if word in _QUERY_WORDS:
        return StatementKind.QUERY
    if word in _TRANSACTION_WORDS:
        return StatementKind.TRANSACTION_CONTROL
    return StatementKind.SETTING if word in _SETTING_WORDS else StatementKind.OTHER


def template_text(sql: Any) -> str:
    """Return a statement's text with placeholders; composed literals become ``%s``."""
    if isinstance(sql, str):
        return sql
    if isinstance(sql, bytes):
        return sql.decode(errors="replace")
    if isinstance(sql, composing.Composed):
        return "".join(template_text(part) for part in sql)
    if isinstance(sql, composing.SQL | composing.Identifier):
        return sql.as_string(None)
    return "%s"


_TOKENS = re.compile(
    r"""
    (?P<name>"(?:[^"]|"")*")                        # a quoted name: kept
    | (?P<text>\b[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*')
    | (?P<dollar>\$(?P<tag>[A-Za-z_]?\w*)\$.*?\$(?P=tag)\$)
    | (?P<comment>--[^\n]*|/\*.*?\*/)
    | (?P<number>(?<![\w$.%"])\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?\b)
    """,
    re.VERBOSE | re.DOTALL,
)
_LISTS = re.compile(r"(%s|\?)(?:\s*,\s*(?:%s|\?))+")
_ROWS = re.compile(r"(\((?:%s|\?)(?:, \.\.\.)?\))(?:\s*,\s*\((?:%s|\?)(?:, \.\.\.)?\))+")


def normalize(statement: str) -> str:
    """Return ``statement`` on one line without comments, with ``?`` for each literal.

    Lists of values are shortened to ``?, ...``. Placeholders (``%s``) stay. Statements that differ
    in their values alone have the same normalized text, so the log shows no values. A text beyond
    ``MAX_LENGTH`` characters is cut.
    """
    text = " ".join(_TOKENS.sub(_replacement, statement).split())
    text = _ROWS.sub(r"\1, ...", _LISTS.sub(r"\1, ...", text))
    return text if len(text) <= MAX_LENGTH else text[:MAX_LENGTH] + "..."


def _replacement(match: re.Match[str]) -> str:
    if match["name"]:
        return match["name"]
    return " " if match["comment"] else "?"


def fingerprint(text: str) -> str:
    """Return twelve hexadecimal digits that identify a normalized statement in the log."""
    return sha256(normalize(text).encode()).hexdigest()[:12]


INVALID_TERMINATION = "2D000"  # SQLSTATE: COMMIT in a procedure, inside the caller's transaction
FUNCTIONS_KNOWN_FOR = 60.0  # seconds; a function that is created meanwhile may be taken for a read
MAX_REMEMBERED = 20_000  # characters of a text that the process remembers

# Written in a language whose code PostgreSQL runs, and allowed to change rows.
_VOLATILE = """
SELECT p.proname FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
JOIN pg_catalog.pg_language l ON l.oid = p.prolang
WHERE p.provolatile = 'v' AND p.prokind = 'f' AND l.lanname NOT IN ('internal', 'c')
  AND p.prorettype <> 'pg_catalog.trigger'::pg_catalog.regtype
  AND n.nspname NOT IN ('pg_catalog', 'information_schema')
"""
_WRITES = {"insert", "update", "delete", "merge", "truncate", "copy", "call", "do", "execute"}
_PROCEDURES = {"call", "do"}
_TRANSACTIONS = {"begin", "start", "commit", "end", "rollback", "abort", "prepare"}
_READS = {"select", "with", "values", "table", "explain"}
_MODIFIES = re.compile(r"\b(?:insert|update|delete|merge|execute)\b")
_COMMENT = re.compile(r"/\*|\*/")
_LITERAL = re.compile(
    r"""
    (?P<name>"(?:[^"]|"")*")
    | \b[eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*'
    | \$(?P<tag>(?:[A-Za-z_]\w*)?)\$.*?\$(?P=tag)\$
    | --[^\n]*
    | (?P<comment>/\*)
    """,
    re.VERBOSE | re.DOTALL,
)
_STATEMENT_WORD = re.compile(r"[\s(]*([a-z]+)")
_CALL = re.compile(r'(?:"((?:[^"]|"")+)"|\b([^\W\d][\w$]*))\s*\(')
# keywords in front of a parenthesis, and functions of the system that Django calls
_KNOWN = frozenset(
    """
    all and any array array_agg as avg by case cast ceil coalesce concat count cume_dist date_part
    date_trunc dense_rank distinct else except exists extract filter first_value floor from greatest
    having in intersect interval is join json_agg jsonb_agg jsonb_build_object lag last_value
    lateral lead least left length limit lower lpad ltrim max md5 min mod not now nth_value ntile
    nullif numeric offset on or over overlay percent_rank position power rank replace returning
    right round row row_number rpad rtrim select set similar sqrt stddev_pop strpos substring sum
    then timezone to_tsquery to_tsvector trim true ts_rank union unnest upper using values var_pop
    varchar when where with
    """.split()  # noqa: SIM905 (a table of words)
)


class StatementEffect(NamedTuple):
    """What the text of a statement says about writes.

    ``writes``: it may change rows. ``is_procedure``: it may also commit by itself. ``calls``: the
    functions that it calls, of which one may write.
    """

    writes: bool
    is_procedure: bool
    calls: frozenset[str]


def effect_of(sql: str) -> StatementEffect:
    """Return the effect of one statement, or of several in one string."""
    return _remembered(sql) if len(sql) <= MAX_REMEMBERED else _effect(sql)


def _effect(sql: str) -> StatementEffect:
    writes = is_procedure = False
    calls: set[str] = set()
    for statement in _bare(sql).split(";"):
        match = _STATEMENT_WORD.match(statement.lower())
        word = match.group(1) if match else ""
        if word in _TRANSACTIONS:  # the string commits by itself
            return StatementEffect(False, False, frozenset())
        is_procedure |= word in _PROCEDURES
        writes |= word in _WRITES
        if word in _READS:
            writes |= word in {"with", "explain"} and bool(_MODIFIES.search(statement.lower()))
            calls |= {name for name in _called(statement) if name not in _KNOWN}
    return StatementEffect(writes, is_procedure, frozenset(calls))


_remembered = lru_cache(maxsize=1_024)(_effect)


def _called(statement: str) -> Iterator[str]:
    for quoted, plain in _CALL.findall(statement):
        yield quoted.replace('""', '"') if quoted else plain.lower()


def _bare(sql: str) -> str:
    """Return ``sql`` without comments and literals; quoted names stay."""
    parts: list[str] = []
    position = 0
    while match := _LITERAL.search(sql, position):
        parts += (sql[position : match.start()], match["name"] or " ")
        position = _end_of_comment(sql, match.end()) if match["comment"] else match.end()
    return "".join([*parts, sql[position:]])


def _end_of_comment(sql: str, position: int) -> int:
    """Return the position behind a comment, in which others may be nested."""
    depth = 1
    for match in _COMMENT.finditer(sql, position):
        depth += 1 if match.group() == "/*" else -1
        if depth == 0:
            return match.end()
    return len(sql)


class WritingFunctions:
    """The names of a database's functions that may write; safe for threads."""

    def __init__(self) -> None:
        self._names: frozenset[str] = frozenset()
        self._known_until = 0.0

    def among(self, names: frozenset[str], connection: Any) -> bool:
        """Return whether one of ``names`` may write. ``connection`` is psycopg's."""
        if not names:
            return False
        if monotonic() > self._known_until:
            try:
                rows = connection.execute(_VOLATILE).fetchall()
            except psycopg.Error:
                return False  # the statement meets the same fault
            self._names = frozenset(row[0] for row in rows)
            self._known_until = monotonic() + FUNCTIONS_KNOWN_FOR
        return not names.isdisjoint(self._names)
