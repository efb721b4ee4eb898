"""The fields of the schema that have to do with connections."""

from collections.abc import Mapping, Sequence
from typing import Any

import graphene
from graphene.relay import Connection
from graphene.relay.connection import ConnectionOptions

from pcf.errors import InvalidArgument
from pcf.execution.dependencies import WHOLE
from pcf.execution.edges import Edge, EdgeLevel, Route
from pcf.execution.loaders import find_loader
from pcf.execution.paging import MAX_FIRST
from pcf.execution.rows import Columns
from pcf.pagination.counts import FacetSource, counts_of, facets_of
from pcf.pagination.filters import NO_FILTER, ParsedFilter
from pcf.pagination.loaders import ConnectionLoader
from pcf.pagination.orders import Terms
from pcf.pagination.pages import ConnectionPage, order_text, parse_cursor

DEFAULT_FIRST = 20  # rows of a page without ``first`` and ``last``
COUNT_POINTS = 10  # PostgreSQL reads all rows of the list
LAST_ARGUMENT = "last"
FILTER_ARGUMENT = "filter"


class ConnectionField(Edge):
    """An edge to a connection: a page of a list, with the arguments of Relay's specification.

    Args:
        type_: The connection type, a subclass of RowConnection, or its name.
        loader: The name of a ConnectionLoader, or of a RootConnectionLoader for a field of Query.
        key: The parent's attribute that holds the loader's key; None for a field of Query.
        first: The rows of a page without ``first`` and ``last``.
    """

    changes_no_argument = True
    row_paths = (("nodes",), ("edges", "node"))

    def __init__(
        self,
        type_: str | type[graphene.ObjectType],
        *,
        loader: str,
        key: str | None = "id",
        first: int = DEFAULT_FIRST,
        description: str | None = None,
    ) -> None:
        def of(name: str) -> Any:
            return lambda: getattr(find_loader(loader), name).input_type

        super().__init__(
            type_,
            loader=loader,
            key=key or "id",
            required=True,
            description=description,
            args={
                "first": graphene.Int(
                    description=f"How many rows of the beginning, 1 to {MAX_FIRST}. Without "
                    f"'first' and 'last' a page has {first} rows."
                ),
                "after": graphene.String(description="The cursor of the row before the page."),
                "last": graphene.Int(description=f"How many rows of the end, 1 to {MAX_FIRST}."),
                "before": graphene.String(description="The cursor of the row behind the page."),
                "order_by": graphene.List(
                    graphene.NonNull(of("orders")),
                    description="The order. The primary key decides between equal rows.",
                ),
                "filter": graphene.Argument(of("filters"), description="Which rows are listed."),
            },
        )
        self.default_first = first
        self._is_root = key is None
        if self._is_root:
            self.columns = ()

    def route(self, context: Any, arguments: dict[str, Any]) -> Route:
        """Return the route for the arguments. Raises InvalidArgument for wrong ones."""
        del context
        loader: Any = find_loader(self.loaders[0])
        return Route(
            self.loaders[0], arguments=list_arguments(loader, arguments, self.default_first)
        )

    def keys(self, parents: Sequence[Any], route: Route) -> list[Any]:
        """Return the keys of the loader, one for each parent."""
        return [WHOLE] * len(parents) if self._is_root else super().keys(parents, route)

    def level(
        self,
        context: Any,
        parents: Sequence[Any],
        arguments: dict[str, Any],
        columns: Mapping[str, Columns],
        selected: frozenset[str] = frozenset(),
    ) -> EdgeLevel:
        """Load the pages, unless the operation selects nothing of them but counts."""
        if selected & {"nodes", "edges", "pageInfo"}:
            return super().level(context, parents, arguments, columns, selected)
        route = self.route_from(parents, context, arguments)
        pages = [
            ConnectionPage(find_loader(self.loaders[0]), key, route.arguments)
            for key in self.keys(parents, route)
        ]
        return EdgeLevel((), lambda _: pages, is_light=True)


def list_arguments(
    loader: type[ConnectionLoader], given: dict[str, Any], default_first: int
) -> dict[str, Any]:
    """Return the arguments of a field as those of its loader. Raises InvalidArgument."""
    parsed = loader.filters.parse(given.get("filter"))
    terms = loader.orders.parse(given.get("order_by"), has_search=parsed.search is not None)
    first, last = given.get("first"), given.get("last")
    if first is not None and last is not None:
        raise InvalidArgument("give either 'first' or 'last'")
    count = first if first is not None else default_first if last is None else last
    if not 1 <= count <= MAX_FIRST:
        name = "first" if last is None else "last"
        raise InvalidArgument(f"'{name}' must be between 1 and {MAX_FIRST}, got {count}")
    text = order_text(terms, _search_text(loader, terms, parsed))
    arguments = {
        "order": terms,
        "order_text": text,
        "count": count,
        "backward": last is not None,
        "filter": parsed.shape,
        "search": parsed.search,
        "others": None,
        "dependencies": parsed.dependencies,
        **parsed.values,
    }
    for bound in ("after", "before"):
        cursor = given.get(bound)
        if cursor is not None:
            values = parse_cursor(bound, cursor, text, loader.order_fields(terms))
            arguments |= {f"{bound}_{index}": value for index, value in enumerate(values)}
    return arguments


def _search_text(loader: type[ConnectionLoader], terms: Terms, parsed: ParsedFilter) -> str | None:
    """Return the text by whose relevance the rows are sorted, if they are."""
    if parsed.search is None:
        return None
    needs_search = any(loader.orders.all[term.name].needs_search for term in terms)
    return str(parsed.values[parsed.search.parameters[0]]) if needs_search else None


class RowConnection(Connection):
    """The base class of connection types: Relay's fields, ``nodes`` and ``totalCount``.

    A subclass names its node type in ``class Meta: node = NoteType``, and adds fields of its edges
    in a class ``Edge``, as for graphene's Connection.
    """

    class Meta:
        """The fields of a subclass are its own."""

        abstract = True

    @classmethod
    def __init_subclass_with_meta__(
        cls, node: Any = None, name: str | None = None, **options: Any
    ) -> None:
        meta = ConnectionOptions(cls)
        meta.fields = {
            "nodes": graphene.Field(
                graphene.List(graphene.NonNull(node)),
                required=True,
                description="The rows of the page, without their edges.",
            ),
            "total_count": TotalCount(),
        }
        super().__init_subclass_with_meta__(
            node=node, name=name, strict_types=True, _meta=meta, **options
        )


class _ListField(Edge):
    """An edge from a page: its key is that of the list, its arguments those of the filter."""

    points = COUNT_POINTS
    row_paths = ()

    def __init__(self, type_: Any, **options: Any) -> None:
        super().__init__(type_, loader="", key="key", **options)
        self.loaders = ()  # known from the page

    def route_from(self, parents: Sequence[Any], context: Any, arguments: dict[str, Any]) -> Route:
        """Return the route to the loader of the page's lists."""
        del context
        page: ConnectionPage = parents[0]
        given = page.arguments
        kept = {name: given[name] for name in given if name.startswith("filter")}
        return Route(
            self._loader(page),
            arguments={**kept, "dependencies": given["dependencies"], **arguments},
        )

    def _loader(self, page: ConnectionPage) -> type[ConnectionLoader]:
        raise AssertionError(f"{type(self).__name__} must define a loader for {page.loader}")


class TotalCount(_ListField):
    """The number of rows of a list. PostgreSQL counts them when a client selects the field."""

    def __init__(self) -> None:
        super().__init__(
            graphene.Int,
            required=True,
            description="The number of rows that match the filter, on all pages together.",
        )

    def _loader(self, page: ConnectionPage) -> type[ConnectionLoader]:
        return counts_of(page.loader)


class ListCount(Edge):
    """The number of rows of a list without a filter.

    Args:
        loader: The name of the loader of the list's pages.
        key: The parent's attribute that holds the loader's key.
        description: The description in the schema.
    """

    points = COUNT_POINTS
    row_paths = ()

    def __init__(self, *, loader: str, key: str = "id", description: str) -> None:
        super().__init__(
            graphene.Int, loader=loader, key=key, required=True, description=description
        )

    def route(self, context: Any, arguments: dict[str, Any]) -> Route:
        """Return the route to the counts."""
        del context, arguments
        loader: Any = find_loader(self.loaders[0])
        return Route(counts_of(loader), arguments={"filter": NO_FILTER.shape, "dependencies": ()})


class Facets(_ListField):
    """The values of a relation in a list, each with the number of rows that have it."""

    def __init__(self, type_: Any, *, source: FacetSource, first: int, description: str) -> None:
        super().__init__(
            type_,
            many=True,
            size=first,
            description=description,
            args={
                "first": graphene.Int(
                    required=True,
                    default_value=first,
                    description=f"How many facets, 1 to {MAX_FIRST}.",
                )
            },
        )
        self._source = source

    def route_from(self, parents: Sequence[Any], context: Any, arguments: dict[str, Any]) -> Route:
        """Return the route to the facets. Raises InvalidArgument for a wrong number."""
        if not 1 <= arguments["first"] <= MAX_FIRST:
            raise InvalidArgument(f"'first' must be between 1 and {MAX_FIRST}")
        return super().route_from(parents, context, arguments)

    def _loader(self, page: ConnectionPage) -> type[ConnectionLoader]:
        return facets_of(page.loader, self._source)


class Snippet(Edge):
    """The place in a row where the search of its list was found; null for a list without a search.

    The value is HTML: the row's text is escaped, and what was found stands in ``<mark>``.
    """

    row_paths = ()

    def __init__(self, *, loader: str) -> None:
        super().__init__(
            graphene.String,
            loader=loader,
            key="pk",
            description="Where the search of the filter was found, as HTML: escaped text, with "
            "what was found in <mark>. Null without a search.",
        )

    def route_from(self, parents: Sequence[Any], context: Any, arguments: dict[str, Any]) -> Route:
        """Return the route for the search of the page."""
        del context, arguments
        given = parents[0].page.arguments
        search = given["search"]
        if search is None:
            return Route(self.loaders[0])
        name = search.parameters[0]
        return Route(self.loaders[0], WHOLE, {"search": search, name: given[name]})

    def keys(self, parents: Sequence[Any], route: Route) -> list[Any]:
        """Return the primary keys of the rows; None for each row without a search."""
        if route.key is None:
            return [None] * len(parents)
        return [edge.node.pk for edge in parents]
