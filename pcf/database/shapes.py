"""The shape of a statement: what it is, without the values that came with it."""

import re

SHOWN = 1_000  # characters of a statement in the log

_PIECES = re.compile(
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


def shape(statement: str) -> str:
    """``statement`` on one line, literals as ``?``, comments gone, lists of values shortened.

    Placeholders (``%s``) stay; what comes in their places is not in a statement's text anyway. So
    statements that differ in their values alone have one shape, and it tells nothing of anybody.
    """
    text = " ".join(_PIECES.sub(_piece, statement).split())
    text = _ROWS.sub(r"\1, ...", _LISTS.sub(r"\1, ...", text))
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."


def _piece(match: re.Match[str]) -> str:
    if match["name"]:
        return match["name"]
    return " " if match["comment"] else "?"
