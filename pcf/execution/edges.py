"""Edges: fields that lead from one type to another through a loader."""

from operator import attrgetter
from typing import Any

import graphene
from graphql import GraphQLResolveInfo

from pcf.execution.loaders import Loader, Loaders
from pcf.execution.paging import page_arguments, parse_page


class Edge(graphene.Field):
    """A field that is resolved by a loader.

    ``type_`` names the graphene type and ``loader`` the loader by string
    (``"notes.schema.NoteType"``, ``"notes.NotesByAuthor"``), so that apps need not import each
    other. ``key`` is the parent's attribute that holds the loader's key; a parent without one
    (None) has no such neighbour. ``many`` makes the field a list, ``first`` a paged list with
    that default page size; the page reaches the loader as its arguments ``first`` and ``after``.
    ``size`` is how many neighbours a list without pages is supposed to have, for what an
    operation may cost (``documents.assumed_list_size`` when it is not said).
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
    ) -> None:
        self.loader = loader
        self.key = key
        self.many = many
        self.paged = first is not None
        self.size = size
        self.read_key = attrgetter(key)
        of_type: Any = type_
        if many:
            of_type = graphene.List(graphene.NonNull(type_))
        super().__init__(
            of_type,
            required=required or many,
            description=description,
            args=page_arguments(first) if first is not None else None,
        )

    def wrap_resolve(self, parent_resolver: Any) -> Any:
        """The resolver: one ``load`` of the parent's key, to be batched with its neighbours'."""
        del parent_resolver  # an edge is resolved by its loader alone
        return self.resolve_edge

    def resolve_edge(self, parent: Any, info: GraphQLResolveInfo, **arguments: Any) -> Any:
        """A promise of the neighbours of ``parent``, or None without a key.

        Raises InvalidArgument for a page that cannot be.
        """
        key = self.read_key(parent)
        if key is None:
            return self.absent()
        return self.find_loader(info.context, arguments).load(key)

    def absent(self) -> list[Any] | None:
        """The neighbours of a parent without a key."""
        return [] if self.many else None

    def find_loader(
        self, context: Any, arguments: dict[str, Any], columns: tuple[str, ...] | None = None
    ) -> Loader:
        """The loader for the field's arguments; of light rows where ``columns`` are enough.

        Raises InvalidArgument for a page that cannot be.
        """
        loaders: Loaders = context.loaders
        page: dict[str, int] = {}
        if self.paged:
            asked = parse_page(arguments["first"], arguments.get("after"))
            page = {"first": asked.first, "after": asked.after}
        if columns is None:
            return loaders.get(self.loader, **page)
        return loaders.get_light(self.loader, columns, **page)
