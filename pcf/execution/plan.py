"""Plans: operations compiled against the schema once, to be run many times.

A plan says, for each object type that can occur at a place of the operation, which fields are to be
had there, in which order, how each is read and how its value is completed. Which fields these are
is graphql-core's own decision (``collect_fields``); a plan only remembers it. ``@skip`` and
``@include`` decide it, so an operation whose directives use variables has one plan for each
combination of their values that occurs (``pcf.execution.operations``). All other variables are
run-time inputs.

Plans are shared by threads. Nothing in them changes but the memory of what was compiled, which may
be filled by several threads at once, since all of them would fill in the same.
"""

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from functools import partial
from typing import Any

from graphene.types.resolver import attr_resolver, dict_or_attr_resolver
from graphene_django import DjangoObjectType
from graphql import (
    GRAPHQL_MAX_INT,
    GRAPHQL_MIN_INT,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLBoolean,
    GraphQLField,
    GraphQLID,
    GraphQLInt,
    GraphQLList,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    GraphQLString,
    Node,
    OperationDefinitionNode,
    TypeNameMetaFieldDef,
    VariableNode,
    Visitor,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
    is_object_type,
    visit,
)
from graphql.execution.collect_fields import collect_fields, collect_sub_fields
from graphql.execution.execute import get_field_def
from graphql.execution.values import get_argument_values

from pcf.execution.edges import Edge
from pcf.execution.reading import REQUIRED


class Kind(Enum):
    """The four ways to complete a value."""

    LEAF = "leaf"
    LIST = "list"
    OBJECT = "object"
    ABSTRACT = "abstract"


class Shape:
    """A type as the executor sees it: nullable or not, and what to do with a value."""

    __slots__ = ("as_is", "integers", "item", "kind", "nullable", "type")

    def __init__(self, declared: GraphQLOutputType) -> None:
        self.nullable = not is_non_null_type(declared)
        self.type: Any = declared if self.nullable else declared.of_type  # type: ignore[union-attr]
        self.kind = _kind(self.type)
        self.item: Shape | None = (
            Shape(self.type.of_type) if isinstance(self.type, GraphQLList) else None
        )
        serialize = getattr(self.type, "serialize", None)
        self.as_is: frozenset[type] = frozenset()  # classes whose values are serialised already
        self.integers: Callable[[list[int]], list[Any] | None] | None = None  # writes many at once
        if serialize in (GraphQLString.serialize, GraphQLID.serialize):
            self.as_is = frozenset({str})
        elif serialize is GraphQLBoolean.serialize:
            self.as_is = frozenset({bool})
        if serialize is GraphQLID.serialize:
            self.integers = _as_texts
        elif serialize is GraphQLInt.serialize:
            self.integers = _within_32_bits


def _as_texts(values: list[int]) -> list[Any]:
    return list(map(str, values))


def _within_32_bits(values: list[int]) -> list[Any] | None:
    """The values if an Int can be each of them, else None: then each is looked at by itself."""
    return values if min(values) >= GRAPHQL_MIN_INT and max(values) <= GRAPHQL_MAX_INT else None


def _kind(type_: Any) -> Kind:
    if is_list_type(type_):
        return Kind.LIST
    if is_leaf_type(type_):
        return Kind.LEAF
    return Kind.OBJECT if is_object_type(type_) else Kind.ABSTRACT


class Read(Enum):
    """The four ways to come by the value of a field."""

    TYPENAME = "typename"
    ATTRIBUTE = "attribute"  # an attribute or a dictionary's entry, by a resolver known to do this
    EDGE = "edge"
    RESOLVER = "resolver"


class FieldPlan:
    """One field of a selection: merged, with what is known of it before it is run."""

    __slots__ = (
        "arguments",
        "attribute",
        "default",
        "definition",
        "edge",
        "index",
        "name",
        "nodes",
        "parent_type",
        "read",
        "resolve",
        "selections",
        "shape",
    )

    def __init__(
        self,
        compiler: "Compiler",
        parent_type: GraphQLObjectType,
        name: str,
        nodes: list[FieldNode],
        definition: GraphQLField,
    ) -> None:
        self.index = 0  # among the fields of its selection
        self.name = name  # in the response
        self.nodes = nodes
        self.definition = definition
        self.parent_type = parent_type
        self.shape = Shape(definition.type)
        self.selections = Selections(compiler, nodes)
        self.resolve = definition.resolve
        self.read = Read.RESOLVER
        self.attribute = ""
        self.default: Any = None
        self.edge: Edge | None = None
        self._recognise_resolver()
        self.arguments = constant_arguments(definition, nodes[0])

    def _recognise_resolver(self) -> None:
        """Resolvers of which it is known what they do need not be called."""
        resolve = self.resolve
        if self.definition is TypeNameMetaFieldDef:
            self.read = Read.TYPENAME
        elif resolve is DjangoObjectType.resolve_id:
            self.attribute, self.default = "pk", REQUIRED
            self.read = Read.ATTRIBUTE
        elif isinstance(resolve, partial) and resolve.func in (
            dict_or_attr_resolver,
            attr_resolver,
        ):
            if len(resolve.args) == 2 and not resolve.keywords:  # noqa: PLR2004
                self.attribute, self.default = resolve.args
                self.read = Read.ATTRIBUTE
        else:
            edge = getattr(resolve, "__self__", None)
            if isinstance(edge, Edge) and getattr(resolve, "__func__", None) is Edge.resolve_edge:
                self.edge = edge
                self.read = Read.EDGE


class Selections:
    """What is selected below a field, by the type of the object found there."""

    __slots__ = ("_by_type", "_compiler", "_nodes")

    def __init__(self, compiler: "Compiler", nodes: list[FieldNode]) -> None:
        self._compiler = compiler
        self._nodes = nodes
        self._by_type: dict[str, tuple[FieldPlan, ...]] = {}

    def of(self, object_type: GraphQLObjectType) -> tuple[FieldPlan, ...]:
        """The fields of an object of this type; compiled when first asked for."""
        fields = self._by_type.get(object_type.name)
        if fields is None:
            fields = self._compiler.fields(object_type, self._nodes)
            self._by_type[object_type.name] = fields
        return fields


class Compiler:
    """What field plans are made from: schema, fragments, and the values of the conditions."""

    __slots__ = ("_conditions", "_fragments", "_schema")

    def __init__(
        self,
        schema: GraphQLSchema,
        fragments: dict[str, FragmentDefinitionNode],
        conditions: dict[str, Any],
    ) -> None:
        self._schema = schema
        self._fragments = fragments
        self._conditions = conditions

    def root_fields(
        self, root_type: GraphQLObjectType, operation: OperationDefinitionNode
    ) -> tuple[FieldPlan, ...]:
        """The fields of the operation itself."""
        collected = collect_fields(
            self._schema, self._fragments, self._conditions, root_type, operation.selection_set
        )
        return self._plan(root_type, collected)

    def fields(
        self, object_type: GraphQLObjectType, nodes: list[FieldNode]
    ) -> tuple[FieldPlan, ...]:
        """The fields selected by all of ``nodes`` in an object of this type."""
        collected = collect_sub_fields(
            self._schema, self._fragments, self._conditions, object_type, nodes
        )
        return self._plan(object_type, collected)

    def _plan(
        self, object_type: GraphQLObjectType, collected: Mapping[str, list[FieldNode]]
    ) -> tuple[FieldPlan, ...]:
        fields = []
        for name, nodes in collected.items():
            definition = get_field_def(self._schema, object_type, nodes[0])
            if definition is not None:  # one that the schema does not know is left out (spec 6.3.1)
                fields.append(FieldPlan(self, object_type, name, nodes, definition))
        for index, field in enumerate(fields):
            field.index = index
        return tuple(fields)


def constant_arguments(definition: GraphQLField, node: FieldNode) -> dict[str, Any] | None:
    """The arguments when they are the same for every run, else None."""
    if not definition.args:
        return {}
    if variables_in(node.arguments):
        return None
    return shared_arguments(definition, node, {})


def shared_arguments(
    definition: GraphQLField, node: FieldNode, variables: dict[str, Any]
) -> dict[str, Any] | None:
    """The arguments when all resolvers of this field may have the same; else None.

    They may not when a value could be changed by a resolver, or when coercing them is an error,
    which every resolver's field reports as its own.
    """
    try:
        arguments = get_argument_values(definition, node, variables)
    except Exception:  # noqa: BLE001 - raised again where it belongs to a field
        return None
    shared = all(isinstance(value, _IMMUTABLE) for value in arguments.values())
    return arguments if shared else None


_IMMUTABLE = (str, int, float, bool, type(None), Enum)


def variables_in(nodes: Iterable[Node]) -> list[str]:
    """The names of the variables used below ``nodes``."""
    names: list[str] = []

    class Names(Visitor):
        def enter_variable(self, node: VariableNode, *_: Any) -> None:
            names.append(node.name.value)

    for node in nodes:
        visit(node, Names())
    return names
