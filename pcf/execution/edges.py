"""Edges: fields that lead from one type to another through a loader."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, ClassVar, NamedTuple

import graphene
from graphene.types.unmountedtype import UnmountedType
from graphql import GraphQLResolveInfo

from pcf.execution.loaders import Loader, Loaders, Values, find_loader
from pcf.execution.paging import SIZE_ARGUMENT, cursor_of, page_arguments, page_of
from pcf.execution.rows import Columns, row_reader


class Route(NamedTuple):
    """A loader, the key to load from it, and the arguments of the loader.

    With None as the key the field has no value. An edge that starts from objects ignores ``key``:
    each object has its own.
    """

    loader: str | type[Loader]
    key: Hashable = None
    arguments: Mapping[str, Hashable] = {}


class EdgeLevel(NamedTuple):
    """The loads of an edge for all parents of a level.

    ``loads`` holds loaders with the keys to load from each. ``values`` returns the value of each
    parent from what ``load_level`` of these loaders has found, in their order. ``is_light`` says
    that the loaders may return light rows.
    """

    loads: Sequence[tuple[Loader, Iterable[Hashable]]]
    values: Callable[[Sequence[Values]], list[Any]]
    is_light: bool


class Edge(graphene.Field):
    """A field that a loader resolves.

    A plan loads an edge once a level. graphql-core's executor calls the edge as a resolver, once
    for each parent.

    Args:
        type_: The graphene type, or its name: ``"notes.schema.NoteType"``. Names keep the apps from
            importing each other.
        loader: The name of the loader: ``"notes.NotesByAuthor"``.
        key: The parent's attribute that holds the loader's key. A parent whose attribute is None
            has no value for the field.
        many: Whether the field is a list.
        first: The default page size, which makes the field a paged list. The loader gets the page
            as its arguments ``first`` and ``after``.
        size: The assumed length of a list without pages, for the cost of an operation. The default
            is the setting ``documents.assumed_list_size``.
        required: Whether the field is non-null. A list always is.
        args: The arguments of the field, for a name that is an option, too. An argument with any
            other name may be a keyword. So may an option's name, with a graphene type as the value.
    """

    changes_no_argument: ClassVar[bool] = False
    """Whether all requests may share constant arguments, lists and objects among them."""
    size_argument: ClassVar[str] = SIZE_ARGUMENT
    """The argument that says how many rows a parent has: a number, or a list of as many values."""
    statements: int = 1
    """The statements that a level sends at most."""
    points: int = 1
    """The cost of the edge beside its rows (``pcf.documents.cost``)."""
    row_paths: tuple[tuple[str, ...], ...] = ((),)
    """The paths of fields, from the value of the edge to rows of its loader."""

    def __init__(
        self,
        type_: Any,
        *,
        loader: str,
        key: str = "id",
        many: bool = False,
        first: int | None = None,
        size: int | None = None,
        required: bool = False,
        description: str | None = None,
        args: Mapping[str, Any] | None = None,
        **arguments: Any,
    ) -> None:
        options, arguments = _separate(
            arguments, key=key, many=many, first=first, size=size, required=required,
            description=description, args=args,
        )  # fmt: skip
        self.loaders: tuple[str, ...] = (loader,)  # the loaders that the edge may use
        self.columns: Columns = (options.key,)  # the columns of a parent that the edge reads
        self.many = options.many
        self.is_paged = options.first is not None
        self.size = options.size
        self._key = options.key
        self._read_key = attrgetter(options.key)
        of_type: Any = type_
        if options.many:
            of_type = graphene.List(graphene.NonNull(type_))
        if options.first is not None:
            arguments = _joined(arguments, page_arguments(options.first))
        super().__init__(
            of_type,
            required=options.required or options.many,
            description=options.description,
            args=arguments,
        )

    def wrap_resolve(self, parent_resolver: Any) -> Any:
        """Return the resolver of the field, and ignore graphene's ``parent_resolver``."""
        del parent_resolver
        return self.resolve_edge

    def resolve_edge(self, parent: Any, info: GraphQLResolveInfo, /, **arguments: Any) -> Any:
        """Return a promise of the field's value, or the empty value for a parent without a key.

        Raises InvalidArgument for an invalid page.
        """
        return self.load(info.context, parent, arguments)

    def load(self, context: Any, parent: Any, arguments: dict[str, Any]) -> Any:
        """Return what ``resolve_edge`` returns."""
        route = self.route_from([parent], context, arguments)
        (key,) = self.keys([parent], route)
        if key is None:
            return self.empty_value()
        return self.find_loader(context, route).load(key)

    def level(
        self,
        context: Any,
        parents: Sequence[Any],
        arguments: dict[str, Any],
        columns: Mapping[str, Columns],
        selected: frozenset[str] = frozenset(),
    ) -> EdgeLevel:
        """Load the values of all parents at once.

        ``columns`` holds the columns that are needed, for each loader that may return light rows.
        ``selected`` holds the names of the fields below. Raises InvalidArgument for an invalid
        page.
        """
        del selected
        route = self.route_from(parents, context, arguments)
        needed = columns.get(route.loader) if isinstance(route.loader, str) else None
        keys = self.keys(parents, route)
        distinct = dict.fromkeys(keys)
        all_have_keys = None not in distinct
        distinct.pop(None, None)

        def values(found: Sequence[Values]) -> list[Any]:
            by_key = found[0] if found else {}
            if all_have_keys:
                return list(map(by_key.__getitem__, keys))
            return [self.empty_value() if key is None else by_key[key] for key in keys]

        loads = []
        if distinct:
            loads = [(self.find_loader(context, route, needed), distinct)]
        return EdgeLevel(loads, values, is_light=needed is not None)

    def route_from(self, parents: Sequence[Any], context: Any, arguments: dict[str, Any]) -> Route:
        """Return the route that all ``parents`` share: values of one field with its arguments."""
        del parents
        return self.route(context, arguments)

    def route(self, context: Any, arguments: dict[str, Any]) -> Route:
        """Return the route for the arguments of the field.

        Raises InvalidArgument for an invalid page.
        """
        del context
        if not self.is_paged:
            return Route(self.loaders[0])
        return Route(self.loaders[0], arguments=page_of(self.with_cursor(arguments)))

    def with_cursor(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments with a cursor of the loader's model in the place of ``after``.

        Raises InvalidArgument for an invalid cursor.
        """
        if not self.is_paged:
            return arguments
        model = find_loader(self.loaders[0]).model
        return {**arguments, "after": cursor_of(model, arguments.get("after"))}

    def keys(self, parents: Sequence[Any], route: Route) -> list[Any]:
        """Return the keys of the loader, one for each parent."""
        del route
        return list(map(row_reader(parents, self._key) or self._read_key, parents))

    def empty_value(self) -> list[Any] | None:
        """Return the value of the field for a parent without a key."""
        return [] if self.many else None

    def find_loader(self, context: Any, route: Route, columns: Columns | None = None) -> Loader:
        """Return the loader of the route; with ``columns`` it may return light rows."""
        loaders: Loaders = context.loaders
        return loaders.get_light(route.loader, columns, route.arguments)


class _Options(NamedTuple):
    """The options of an edge that have a default."""

    key: str = "id"
    many: bool = False
    first: int | None = None
    size: int | None = None
    required: bool = False
    description: str | None = None
    args: Mapping[str, Any] | None = None


def _separate(arguments: Mapping[str, Any], **options: Any) -> tuple[_Options, dict[str, Any]]:
    """Return the options of an edge, and the arguments of its field.

    A graphene type is an argument, even with the name of an option.
    """
    types = (graphene.Argument, UnmountedType, type)
    named = {name: value for name, value in options.items() if isinstance(value, types)}
    separated = _Options(**{name: options[name] for name in options.keys() - named.keys()})
    return separated, _joined({**arguments, **named}, separated.args or {})


def _joined(arguments: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """Return all arguments. Raises ValueError for one that occurs twice."""
    if twice := arguments.keys() & others.keys():
        raise ValueError(f"An edge has two arguments called {min(twice)!r}")
    return {**arguments, **others}


class RootEdge(Edge):
    """An edge that starts from the root: its key comes from the field's arguments or the viewer.

    ``route(context, arguments)`` returns the route, to one of ``loaders``, or raises
    InvalidArgument. The other options are those of Edge; ``first`` adds the arguments of a page.
    """

    def __init__(
        self,
        type_: Any,
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
        """Return what the ``route`` function of this edge returns."""
        return self._route(context, self.with_cursor(arguments))

    def keys(self, parents: Sequence[Any], route: Route) -> list[Any]:
        """Return the key of the route for every parent."""
        return [route.key] * len(parents)
