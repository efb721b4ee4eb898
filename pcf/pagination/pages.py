"""The values of connections: a page, its edges and bounds, and the cursors of its rows.

A cursor is the place of a row in an order, as opaque text. It holds the values by which its list is
sorted, and the order itself. It stays valid when its row changes or goes. A cursor grants no
rights: it names the place where a page begins. So it has no signature; ``parse_cursor`` checks all
of it.
"""

import binascii
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any
from uuid import UUID

import orjson
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.duration import duration_string
from django.utils.timezone import is_naive

from pcf.database.key_types import TextKey, key_type_of
from pcf.errors import InvalidArgument
from pcf.pagination.orders import Terms

MAX_CURSOR = 16_000  # characters: three texts as long as an index of PostgreSQL holds them


class ConnectionPage:
    """A page of one list.

    Attributes:
        loader: The class of the loader that has made the page.
        key: The key of the list.
        arguments: The arguments of the loader.
        nodes: The rows.
        places: The values of the order, of each row.
        has_more: Whether the list has rows behind the page, in the direction of paging.
        has_others: Whether the list has rows on the other side of ``after`` and of ``before``, as
            far as they were given. The row of the cursor itself is one.
    """

    __slots__ = ("arguments", "has_more", "has_others", "key", "loader", "nodes", "places")

    def __init__(
        self,
        loader: Any,
        key: Any,
        arguments: Mapping[str, Any],
        *,
        nodes: Sequence[Any] = (),
        places: Sequence[Sequence[Any]] = (),
        has_more: bool = False,
        has_others: dict[str, bool] | None = None,
    ) -> None:
        self.loader = loader
        self.key = key
        self.arguments = arguments
        self.nodes = nodes
        self.places = places
        self.has_more = has_more
        self.has_others = has_others or {}

    @property
    def edges(self) -> list["PageEdge"]:
        """The edges of the page, one for each row."""
        return [PageEdge(self, position) for position in range(len(self.nodes))]

    @property
    def page_info(self) -> "PageBounds":
        """The bounds of the page."""
        return PageBounds(self)

    def cursor(self, position: int) -> str:
        """Return the cursor of a row."""
        return make_cursor(self.arguments["order_text"], self.places[position])


class PageEdge:
    """A row of a page with its cursor."""

    __slots__ = ("page", "position")

    def __init__(self, page: ConnectionPage, position: int) -> None:
        self.page = page
        self.position = position

    @property
    def node(self) -> Any:
        """The row."""
        return self.page.nodes[self.position]

    @property
    def cursor(self) -> str:
        """The cursor of the row."""
        return self.page.cursor(self.position)


class PageBounds:
    """Where a page begins and ends, and whether its list goes on."""

    __slots__ = ("_page",)

    def __init__(self, page: ConnectionPage) -> None:
        self._page = page

    @property
    def has_next_page(self) -> bool:
        """Whether the list has rows behind the page."""
        page = self._page
        is_forward = not page.arguments["backward"]
        return (is_forward and page.has_more) or page.has_others.get("before", False)

    @property
    def has_previous_page(self) -> bool:
        """Whether the list has rows before the page."""
        page = self._page
        is_backward = page.arguments["backward"]
        return (is_backward and page.has_more) or page.has_others.get("after", False)

    @property
    def start_cursor(self) -> str | None:
        """The cursor of the first row; None for an empty page."""
        return self._page.cursor(0) if self._page.nodes else None

    @property
    def end_cursor(self) -> str | None:
        """The cursor of the last row; None for an empty page."""
        return self._page.cursor(len(self._page.nodes) - 1) if self._page.nodes else None


# --- cursors


def order_text(terms: Terms, search: str | None) -> str:
    """Return the text that stands for an order in its cursors.

    ``search`` is the search of an order that needs one: its values mean nothing for another.
    """
    text = ",".join(f"{'-' if term.descending else ''}{term.name}" for term in terms)
    if search is None:
        return text
    return f"{text}/{sha256(search.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def make_cursor(order: str, values: Sequence[Any]) -> str:
    """Return the cursor of a row with ``values`` in the order ``order``."""
    return urlsafe_b64encode(_as_json([order, *values])).decode().rstrip("=")


def _as_json(content: list[Any]) -> bytes:
    """Return ``content`` as JSON.

    orjson is several times faster. It writes null for NaN and infinity, and refuses integers of
    more than 64 bits.
    """
    if float not in map(type, content):
        try:
            return orjson.dumps(content, _plain, orjson.OPT_PASSTHROUGH_DATETIME)
        except orjson.JSONEncodeError:
            pass
    return json.dumps(content, default=_plain, separators=(",", ":"), ensure_ascii=False).encode()


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it."""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return duration_string(value)
    if isinstance(value, UUID | Decimal):
        return str(value)
    raise TypeError(f"a cursor cannot hold a value of the type {type(value).__name__}")


def parse_cursor(argument: str, cursor: str, order: str, fields: Sequence[Any]) -> tuple[Any, ...]:
    """Return the values in ``cursor``, of the model fields ``fields``.

    ``argument`` is the name of the argument for messages. Raises InvalidArgument for a text that is
    no cursor, and for a cursor of another order.
    """
    wrong = InvalidArgument(f"'{argument}' must be a cursor of this list")
    if len(cursor) > MAX_CURSOR:
        raise wrong
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        found = json.loads(urlsafe_b64decode(padded))
    except (ValueError, binascii.Error, RecursionError):
        raise wrong from None
    if not isinstance(found, list) or not found or not isinstance(found[0], str):
        raise wrong
    if found[0] != order:
        raise InvalidArgument(
            f"'{argument}' is a cursor of another order: {found[0][:100]!r}, not {order!r}"
        )
    if len(found) != len(fields) + 1:
        raise wrong
    return tuple(
        _converted(value, field, wrong) for value, field in zip(found[1:], fields, strict=True)
    )


def _converted(value: Any, field: Any, wrong: InvalidArgument) -> Any:
    if type(value) not in (str, int, float, bool):
        raise wrong
    try:
        converted = field.to_python(value)
    except (ValidationError, ValueError, TypeError, ArithmeticError):
        raise wrong from None
    if isinstance(converted, datetime) and is_naive(converted) and settings.USE_TZ:
        raise wrong
    key_type = TextKey(field) if isinstance(converted, str) else key_type_of(field)
    if key_type is not None:  # the range of the column, and what PostgreSQL can hold
        converted = key_type.parse(value)
    if converted is None:
        raise wrong
    return converted
