"""Keyset paging by id: ``first`` rows with an id greater than ``after``."""

from typing import Any, NamedTuple

import graphene

from pcf.errors import InvalidArgument

MAX_FIRST = 100  # rows
SIZE_ARGUMENT = "first"  # says how many rows a list may have
MAX_ID = 2**63 - 1  # PostgreSQL's bigint


class Page(NamedTuple):
    """``first`` rows (1 to 100) whose id is greater than ``after``."""

    first: int
    after: int = 0


def parse_id(value: Any) -> int | None:
    """A primary key from an ID argument; None when no row can have it, such as ``"x"`` or ``"0"``.

    An unknown id and an impossible one are the same to a client: nothing is there.
    """
    text = str(value)
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(MAX_ID)):
        return None
    number = int(text)
    return number if 0 < number <= MAX_ID else None


def parse_page(first: int, after: Any = None) -> Page:
    """Check the arguments of a list.

    Raises InvalidArgument when ``first`` is not between 1 and 100 or ``after`` is not an id.
    """
    if not 1 <= first <= MAX_FIRST:
        raise InvalidArgument(f"'first' must be between 1 and {MAX_FIRST}, got {first}")
    if after is None:
        return Page(first)
    start = 0 if str(after) == "0" else parse_id(after)
    if start is None:
        raise InvalidArgument("'after' must be the id of a row")
    return Page(first, start)


def page_arguments(first: int) -> dict[str, graphene.Argument]:
    """The arguments ``first`` (with its default) and ``after`` for a graphene field."""
    return {
        "first": graphene.Argument(
            graphene.Int,
            default_value=first,
            required=True,
            description=f"How many rows, 1 to {MAX_FIRST}.",
        ),
        "after": graphene.Argument(
            graphene.ID, description="The id of the last row of the page before."
        ),
    }
