"""The values of connections: a page, its edges, and its bounds."""

from collections.abc import Mapping, Sequence
from typing import Any

from pcf.pagination.cursors import make_cursor


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
