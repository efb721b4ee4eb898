"""Nodes: objects with an id that no other object has (GraphQL Global Object Identification).

A type becomes a node by two lines::

    class NoteType(DjangoObjectType):
        node_id = NodeId("notes.NoteById")

        class Meta:
            interfaces = (Node,)

``NodeEdge`` and ``NodesEdge`` are the fields of Query that find nodes by their ids. They use the
loaders that the types name, so no node passes by the rules of its type. A type that no other field
leads to has to stand in ``types=`` of ``graphene.Schema``.

A node id is the name of the GraphQL type and the primary key, in base64url without padding. Clients
must not rely on its form. A type that gets another name, or a row that gets another key, has
another node id.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import graphene
from django.core.exceptions import ImproperlyConfigured
from graphene_django import DjangoObjectType
from graphql import GraphQLResolveInfo

from pcf._compat.graphene import declared_fields, interfaces_of, type_name_of
from pcf._compat.graphene_django import model_of
from pcf.database.key_types import key_type_of
from pcf.errors import InvalidArgument
from pcf.execution.edges import Edge, EdgeLevel, RootEdge, Route
from pcf.execution.loaders import Values
from pcf.execution.rows import REQUIRED, Columns, Row, read_attribute

MAX_NODES = 100  # ids; no setting, because the schema's description names it (schema.graphql)
IDS_ARGUMENT = "nodeIds"  # the argument for the ids of several nodes

_DESCRIPTION = "An id that no other object has, of whatever type. It does not change."
_FIELD = "node_id"  # the attribute of a graphene type that is its NodeId

NodeType = type[DjangoObjectType]


class Node(graphene.Interface):
    """An object with an id that no other object has, of whatever type."""

    node_id = graphene.ID(required=True, description=_DESCRIPTION)


def make_node_id(type_name: str, key: Hashable) -> str:
    """Return the node id of the object of a type with this primary key."""
    return urlsafe_b64encode(f"{type_name}:{key}".encode()).rstrip(b"=").decode()


def parse_node_id(node_id: str) -> tuple[str, str] | None:
    """Return the name of the type and the text of the key; None for a text that is no node id."""
    padding = "=" * (-len(node_id) % 4)
    try:
        type_name, colon, key = urlsafe_b64decode(node_id + padding).decode().partition(":")
    except ValueError:
        return None
    # one object has one id: the decoder accepts several texts for the same bytes
    return (type_name, key) if colon and make_node_id(type_name, key) == node_id else None


class NodeId(graphene.Field):
    """The field ``nodeId`` of a type. ``loader`` is the loader of its rows by primary key."""

    def __init__(self, loader: str) -> None:
        super().__init__(graphene.ID, required=True, description=_DESCRIPTION)
        self.loader = loader

    def wrap_resolve(self, parent_resolver: Any) -> Any:
        """Return the resolver of the field, and ignore graphene's ``parent_resolver``."""
        del parent_resolver
        return self.resolve_node_id

    def resolve_node_id(self, parent: Any, info: GraphQLResolveInfo) -> str:
        """Return the node id of ``parent``. A plan calls ``node_ids`` instead."""
        return make_node_id(info.parent_type.name, parent.pk)


def node_id_of(resolver: Any) -> NodeId | None:
    """Return the NodeId whose own resolver this is, or None."""
    field = getattr(resolver, "__self__", None)
    is_own = getattr(resolver, "__func__", None) is NodeId.resolve_node_id
    return field if isinstance(field, NodeId) and is_own else None


def node_ids(type_name: str, parents: Sequence[Any], row_class: type[Row] | None) -> list[Any]:
    """Return the node ids of ``parents``, whose type is ``type_name``.

    ``row_class`` is their class when all are light rows of one class. An Exception among the values
    is the error of that parent's field.
    """
    keys = read_attribute(parents, "pk", REQUIRED, row_class)
    return [key if isinstance(key, Exception) else make_node_id(type_name, key) for key in keys]


class NodeTypes:
    """The types of the nodes that a field of Query finds.

    Raises ImproperlyConfigured for a type that is no node, and for two types of one model: a row
    could not tell its type.
    """

    def __init__(self, types: Sequence[NodeType]) -> None:
        models: dict[Any, NodeType] = {}
        self._loaders: dict[str, tuple[str, Any]] = {}
        for type_ in types:
            node_id = declared_fields(type_).get(_FIELD)
            if not isinstance(node_id, NodeId) or Node not in interfaces_of(type_):
                raise ImproperlyConfigured(
                    f"{type_.__name__} is no node: it needs {_FIELD} = NodeId(...), "
                    "and Node among the interfaces of its Meta"
                )
            model = model_of(type_)
            other = models.setdefault(model._meta.concrete_model, type_)  # noqa: SLF001
            if other is not type_:
                raise ImproperlyConfigured(
                    f"{other.__name__} and {type_.__name__} are nodes of one model"
                )
            self._loaders[type_name_of(type_)] = node_id.loader, model._meta.pk  # noqa: SLF001

    @property
    def names(self) -> tuple[str, ...]:
        """The GraphQL names of the types."""
        return tuple(self._loaders)

    @property
    def loaders(self) -> tuple[str, ...]:
        """The names of the loaders."""
        return tuple(loader for loader, _ in self._loaders.values())

    def route(self, node_id: str) -> Route:
        """Return the route to a node. A text that no node has as its id leads nowhere."""
        type_name, text = parse_node_id(node_id) or ("", "")
        loader, primary_key = self._loaders.get(type_name, (None, None))
        if loader is None:
            return Route(self.loaders[0], None)
        key_type = key_type_of(primary_key)
        key = None if key_type is None else key_type.parse(text)
        return Route(loader, key if str(key) == text else None)


class NodeEdge(RootEdge):
    """The field ``node`` of Query, which finds one node of these types by its id."""

    def __init__(self, *types: NodeType) -> None:
        self.nodes = NodeTypes(types)
        super().__init__(
            Node,
            loaders=self.nodes.loaders,
            route=lambda _context, arguments: self.nodes.route(arguments[_FIELD]),
            description="The object with this id; null if there is none that the viewer may see.",
            node_id=graphene.ID(required=True, description="The id: 'nodeId' of an object."),
        )


class NodesEdge(Edge):
    """The field ``nodes`` of Query, which finds nodes of these types by their ids.

    The loaders of all types load at once: one statement for each type.
    """

    size_argument = IDS_ARGUMENT

    def __init__(self, *types: NodeType) -> None:
        self.nodes = NodeTypes(types)
        super().__init__(
            graphene.List(Node),
            loader=self.nodes.loaders[0],
            required=True,
            size=MAX_NODES,
            description=(
                "The objects with these ids, in this order; null for an id without an object that "
                "the viewer may see."
            ),
            node_ids=graphene.List(
                graphene.NonNull(graphene.ID),
                required=True,
                description=f"The ids, {MAX_NODES} at most: 'nodeId' of objects.",
            ),
        )

        self.columns = ()
        self.loaders = self.nodes.loaders
        self.statements = len(self.loaders)

    def _routes(self, arguments: Mapping[str, Any]) -> list[Route]:
        """Return the route to each node. Raises InvalidArgument for too many ids."""
        given = arguments["node_ids"]
        if len(given) > MAX_NODES:
            raise InvalidArgument(f"'{IDS_ARGUMENT}' may have {MAX_NODES} ids, got {len(given)}")
        return [self.nodes.route(node_id) for node_id in given]

    def load(self, context: Any, parent: Any, arguments: dict[str, Any]) -> Any:
        """Return the nodes: a promise for each id that can have one, else None."""
        del parent
        return [
            None if route.key is None else self.find_loader(context, route).load(route.key)
            for route in self._routes(arguments)
        ]

    def level(
        self,
        context: Any,
        parents: Sequence[Any],
        arguments: dict[str, Any],
        columns: Mapping[str, Columns],
        selected: frozenset[str] = frozenset(),
    ) -> EdgeLevel:
        """Load the nodes for all parents, with one load for each loader."""
        del selected
        routes = self._routes(arguments)
        keys: dict[Any, dict[Hashable, None]] = {}  # by the names of loaders
        for route in routes:
            if route.key is not None:
                keys.setdefault(route.loader, {})[route.key] = None
        loads = [
            (self.find_loader(context, Route(name), columns.get(name)), keys[name]) for name in keys
        ]

        def values(found: Sequence[Values]) -> list[Any]:
            by_loader = dict(zip(keys, found, strict=True))
            nodes = [
                None if route.key is None else by_loader[route.loader][route.key]
                for route in routes
            ]
            return [nodes] * len(parents)

        return EdgeLevel(loads, values, is_light=keys.keys() <= columns.keys())
