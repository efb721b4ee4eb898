"""Edges: fields that lead from one type to another through a loader."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import graphene
from graphql import GraphQLResolveInfo

from pcf.execution.loaders import Loader, Loaders
from pcf.execution.paging import page_arguments, parse_page
from pcf.execution.reading import row_reader
from pcf.execution.rows import Columns


class Route(NamedTuple):
    """The loader to ask, the key to ask it for, and the loader's arguments.

    Without a key (None) there are no neighbours. An edge that starts from objects has a key for
    each of them instead.
    """

    loader: str
    key: Hashable = None
    arguments: Mapping[str, Hashable] = {}


class Edge(graphene.Field):
    """A field that is resolved by a loader.

    ``type_`` names the graphene type and ``loader`` the loader by string
    (``"notes.schema.NoteType"``, ``"notes.NotesByAuthor"``), so that apps need not import each
    other. ``key`` is the parent's attribute that holds the loader's key; a parent without one
    (None) has no such neighbour. ``many`` makes the field a list, ``first`` a paged list with
    that default page size; the page reaches the loader as its arguments ``first`` and ``after``.
    ``size`` is how many neighbours a list without pages is supposed to have, for what an
    operation may cost (``documents.assumed_list_size`` when it is not said).

    A plan follows an edge once a level. Under graphql-core's own executor the same edge is a
    resolver that makes one ``load`` for each parent.
    """

    def __init__(
        self,
        type_: str,
        *,
        loader: str,
        key: str = "id",
        many: bool = False,
        first: int | None = None,
        size: int | None = None,
        required: bool = False,
        description: str | None = None,
        **arguments: graphene.Argument,
    ) -> None:
        self.loaders: tuple[str, ...] = (loader,)  # that it may ask
        self.columns: Columns = (key,)  # that it reads of a parent
        self.many = many
        self.is_paged = first is not None
        self.size = size
        self._key = key
        self._read_key = attrgetter(key)
        of_type: Any = type_
        if many:
            of_type = graphene.List(graphene.NonNull(type_))
        if first is not None:
            arguments |= page_arguments(first)
        super().__init__(
            of_type, required=required or many, description=description, args=arguments
        )

    def wrap_resolve(self, parent_resolver: Any) -> Any:
        """The resolver: one ``load`` of the parent's key, to be batched with its neighbours'."""
        del parent_resolver  # an edge is resolved by its loader alone
        return self.resolve_edge

    def resolve_edge(self, parent: Any, info: GraphQLResolveInfo, **arguments: Any) -> Any:
        """A promise of the neighbours of ``parent``, or None without a key.

        Raises InvalidArgument for a page that cannot be.
        """
        route = self.route(info.context, arguments)
        (key,) = self.keys([parent], route)
        if key is None:
            return self.absent()
        return self.find_loader(info.context, route).load(key)

    def route(self, context: Any, arguments: dict[str, Any]) -> Route:
        """Where the field's arguments lead. Raises InvalidArgument for a page that cannot be."""
        del context
        return Route(self.loaders[0], arguments=page_of(arguments) if self.is_paged else {})

    def keys(self, parents: Sequence[Any], route: Route) -> list[Any]:
        """The loader's keys, one for each parent."""
        del route
        return list(map(row_reader(parents, self._key) or self._read_key, parents))

    def absent(self) -> list[Any] | None:
        """The neighbours of a parent without a key."""
        return [] if self.many else None

    def find_loader(self, context: Any, route: Route, columns: Columns | None = None) -> Loader:
        """The loader of the route; of light rows where ``columns`` are enough."""
        loaders: Loaders = context.loaders
        return loaders.get_light(route.loader, columns, route.arguments)


class RootEdge(Edge):
    """An edge that starts from the root: its key comes from the field's arguments or the viewer.

    ``route(context, arguments)`` says which of ``loaders`` to ask for which key; it may raise
    InvalidArgument. ``first`` adds the arguments of a page to ``arguments``.
    """

    def __init__(
        self,
        type_: str,
        *,
        loaders: tuple[str, ...],
        route: Callable[[Any, dict[str, Any]], Route],
        **options: Any,
    ) -> None:
        super().__init__(type_, loader=loaders[0], **options)
        self.loaders = loaders
        self.columns = ()
        self._route = route

    def route(self, context: Any, arguments: dict[str, Any]) -> Route:
        """As the edge's own function says."""
        return self._route(context, arguments)

    def keys(self, parents: Sequence[Any], route: Route) -> list[Any]:
        """The same key for every parent."""
        return [route.key] * len(parents)


def page_of(arguments: Mapping[str, Any]) -> dict[str, Hashable]:
    """A loader's arguments for the page a field asks for. Raises InvalidArgument."""
    page = parse_page(arguments["first"], arguments.get("after"))
    return {"first": page.first, "after": page.after}
