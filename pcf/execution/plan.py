"""Plans: operations compiled against the schema once and run many times.

A plan knows each object type that can occur at a place of the operation. For each of them the plan
holds the fields in their order, how the executor reads a field, and how it completes its values.
graphql-core's ``collect_fields`` decides which fields these are; a plan keeps its decision. The
directives ``@skip`` and ``@include`` are part of that decision. So an operation whose directives
use variables has one plan for each combination of their values (``pcf.execution.plan_cache``). All
other variables are inputs of a run.

All threads share the plans. A plan only ever adds the selections that it has compiled. Several
threads may compile the same selection at once, with the same result.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from itertools import chain, compress
from typing import Any, NamedTuple

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    GraphQLField,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    TypeNameMetaFieldDef,
    is_leaf_type,
    is_object_type,
)

from pcf._compat.graphene import attribute_of
from pcf._compat.graphene_django import is_primary_key_resolver
from pcf._compat.graphql import collect_fields, collect_sub_fields, get_field_def
from pcf.execution.arguments import (
    argument_sources,
    constant_arguments,
    from_sources,
    shared_arguments,
)
from pcf.execution.edges import Edge
from pcf.execution.nodes import node_id_of
from pcf.execution.response_size import ResponseSize, object_bytes
from pcf.execution.rows import REQUIRED, Reader, Row
from pcf.execution.schema import OutputType, TypeKind


class Resolution(Enum):
    """The five ways in which the executor resolves a field."""

    TYPENAME = "typename"
    ATTRIBUTE = "attribute"  # an attribute or an entry of a dict, without a call of the resolver
    NODE_ID = "node id"  # of the primary key
    EDGE = "edge"
    RESOLVER = "resolver"


class FieldPlan:
    """One field of a selection set, with everything that is known before a run.

    Attributes:
        index: The position of the field in its selection set.
        name: The name of the field in the response.
        nodes: The nodes of the document that graphql-core has merged into this field.
        attribute, default: The attribute that ``Resolution.ATTRIBUTE`` reads, and its default.
        edge: The edge of ``Resolution.EDGE``.
        arguments: The arguments, when they are the same in every run; else None.
        argument_sources: Where the arguments come from; None where each run has to coerce them.
        is_opaque: Whether nothing is known of the field's resolver: it may send statements.
        is_plain: Whether the field of a light row runs no code of the project: its value is a
            column, and its type a scalar or an enum of graphql-core or graphene.
    """

    __slots__ = (
        "argument_sources",
        "arguments",
        "attribute",
        "below",
        "default",
        "definition",
        "edge",
        "index",
        "innermost",
        "is_opaque",
        "is_plain",
        "name",
        "nodes",
        "output_type",
        "parent_type",
        "resolution",
        "resolve",
        "selections",
    )

    def __init__(
        self,
        compiler: "PlanCompiler",
        parent_type: GraphQLObjectType,
        name: str,
        nodes: list[FieldNode],
        definition: GraphQLField,
    ) -> None:
        self.index = 0
        self.name = name
        self.nodes = nodes
        self.definition = definition
        self.parent_type = parent_type
        self.output_type = OutputType(definition.type)
        self.selections = Selections(compiler, nodes)
        self.resolve = definition.resolve
        self.resolution = Resolution.RESOLVER
        self.attribute = ""
        self.default: Any = None
        self.edge: Edge | None = None
        self._recognise_resolver()
        is_resolver = self.resolution is Resolution.RESOLVER
        self.is_opaque = is_resolver and not hasattr(self.resolve, "columns")
        self.arguments = constant_arguments(definition, nodes[0])
        shares_all: bool = getattr(self.edge, "changes_no_argument", False)
        self.argument_sources = argument_sources(definition, nodes[0], shares_all=shares_all)
        reads_column = self.resolution in {Resolution.ATTRIBUTE, Resolution.NODE_ID}
        self.is_plain = reads_column and self.output_type.is_standard and self.arguments == {}
        self.innermost: bool | None = None  # not known yet
        self.below: frozenset[str] | None = None  # as above

    @property
    def is_leaf(self) -> bool:
        """Whether no fields are below the field."""
        return self.output_type.innermost.kind is TypeKind.LEAF

    @property
    def is_innermost(self) -> bool:
        """Whether the fields below have no fields of their own, and none is an edge."""
        if self.innermost is None:
            output = self.output_type.innermost
            self.innermost = output.kind is not TypeKind.LEAF and all(
                field.resolution is not Resolution.EDGE and is_leaf_type(field.output_type.type)
                for field in self.selections.of_any(output.type)
            )
        return self.innermost

    @property
    def names_below(self) -> frozenset[str]:
        """The names in the schema of the fields below; empty for a leaf."""
        if self.below is None:
            output = self.output_type.innermost
            is_leaf = output.kind is TypeKind.LEAF
            below = () if is_leaf else self.selections.of_any(output.type)
            self.below = frozenset(field.nodes[0].name.value for field in below)
        return self.below

    def shared_arguments(self, variables: dict[str, Any]) -> dict[str, Any] | None:
        """Return the arguments when all calls of the resolver may share them, else None."""
        found = from_sources(self.argument_sources, variables)
        if found is None:
            found = shared_arguments(self.definition, self.nodes[0], variables)
        return found

    @property
    def full_name(self) -> str:
        """The name of the field in the schema, with that of its type: ``Query.notes``."""
        return f"{self.parent_type.name}.{self.nodes[0].name.value}"

    def _recognise_resolver(self) -> None:
        """Find the resolvers that the executor need not call, because it knows what they do."""
        resolve = self.resolve
        attribute = attribute_of(resolve)
        if self.definition is TypeNameMetaFieldDef:
            self.resolution = Resolution.TYPENAME
        elif is_primary_key_resolver(resolve):
            self.attribute, self.default = "pk", REQUIRED
            self.resolution = Resolution.ATTRIBUTE
        elif node_id_of(resolve) is not None:
            self.resolution = Resolution.NODE_ID
        elif attribute is not None:
            self.attribute, self.default = attribute
            self.resolution = Resolution.ATTRIBUTE
        else:
            self.edge = edge_of(resolve)
            if self.edge is not None:
                self.resolution = Resolution.EDGE


def edge_of(resolver: Any) -> Edge | None:
    """Return the edge whose own resolver this is, or None."""
    edge = getattr(resolver, "__self__", None)
    if isinstance(edge, Edge) and getattr(resolver, "__func__", None) is Edge.resolve_edge:
        return edge
    return None


class CompiledSelection:
    """The fields that an operation selects of an object of one type.

    Attributes:
        fields: The fields in their order.
        template: The result of an object before its fields have values. It keeps their order, and
            is empty where all fields are plain: then they get their values in order.
        least_bytes: The least bytes of such an object in the response.
    """

    __slots__ = ("_by_class", "fields", "least_bytes", "template")

    def __init__(self, fields: tuple[FieldPlan, ...]) -> None:
        names = [field.name for field in fields]
        self.fields = fields
        self.template = {} if all(field.is_plain for field in fields) else dict.fromkeys(names)
        self.least_bytes = object_bytes(names)
        self._by_class: dict[type[Row], RowSelection] = {}

    def of_rows(self, row_class: type[Row]) -> "RowSelection":
        """Return what the operation selects of light rows of one class."""
        found = self._by_class.get(row_class)
        if found is None:
            found = self._by_class[row_class] = _select_of_rows(self.fields, row_class)
        return found


class RowSelection(NamedTuple):
    """The fields that an operation selects of light rows of one class.

    Attributes:
        plain: The reader and the type of each plain field whose column the rows have, and whose
            values ``serialize_plain`` may serialise.
        others: All other fields.
        all_plain: Whether all fields are plain, whatever their types.
        make_results: A function that makes a result of the completed values of the plain fields of
            each row. The other fields have null in it.
    """

    plain: tuple[tuple[Reader, OutputType], ...]
    others: tuple[FieldPlan, ...]
    all_plain: bool
    make_results: Callable[[Iterable[tuple[Any, ...]]], list[dict[str, Any]]]

    def results(self, rows: Sequence[Any], size: ResponseSize) -> list[dict[str, Any]] | None:
        """Return results with the completed values of the plain fields; ``size`` gets their texts.

        Returns None when there are no plain fields, or a value needs more than ``serialize_plain``.
        """
        completed, texts = [], []
        for read, output_type in self.plain:
            values = list(map(read, rows))
            found = output_type.serialize_plain(values, set(map(type, values)))
            if found is None:
                return None
            completed.append(found)
            if output_type.makes_texts:
                texts.append(found)
        if not completed:
            return None
        size.add_texts(chain.from_iterable(texts))
        return self.make_results(zip(*completed, strict=True))


def _select_of_rows(fields: Sequence[FieldPlan], row_class: type[Row]) -> RowSelection:
    readers = row_class.readers_
    are_plain = [
        field.is_plain and field.output_type.serializes_plain and field.attribute in readers
        for field in fields
    ]
    return RowSelection(
        tuple([(readers[it.attribute], it.output_type) for it in compress(fields, are_plain)]),
        tuple([field for field, is_plain in zip(fields, are_plain, strict=True) if not is_plain]),
        all(field.is_plain for field in fields),
        _result_maker(tuple([field.name for field in fields]), tuple(are_plain)),
    )


def _result_maker(names: tuple[str, ...], are_plain: tuple[bool, ...]) -> Any:
    """Return ``RowSelection.make_results`` for fields with these names.

    One step of the interpreter makes a dictionary whose keys are constants. So the function is
    compiled for its keys, as ``collections.namedtuple`` compiles one for its names.
    """
    values = [f"v{index}" if is_plain else "None" for index, is_plain in enumerate(are_plain)]
    items = [f"{name!r}: {value}" for name, value in zip(names, values, strict=True)]
    targets = "".join([f"{value}, " for value in compress(values, are_plain)])
    source = f"lambda rows: [{{{', '.join(items)}}} for ({targets}) in rows]"
    return eval(source, {})  # noqa: S307 - the names are literals in it


class Selections:
    """The selection set of a field, compiled for each object type that the field's value can have.

    The compiler compiles an object type at its first occurrence.
    """

    __slots__ = ("_by_type", "_compiler", "_nodes")

    def __init__(self, compiler: "PlanCompiler", nodes: list[FieldNode]) -> None:
        self._compiler = compiler
        self._nodes = nodes
        self._by_type: dict[str, CompiledSelection] = {}

    def of(self, object_type: GraphQLObjectType) -> tuple[FieldPlan, ...]:
        """Return the fields that the operation selects of an object of this type."""
        return self.compiled(object_type).fields

    def of_any(self, type_: Any) -> Iterator[FieldPlan]:
        """Yield the fields that the operation selects of each object type that is a ``type_``."""
        for object_type in self._compiler.object_types(type_):
            yield from self.of(object_type)

    def compiled(self, object_type: GraphQLObjectType) -> "CompiledSelection":
        """Return what the operation selects of an object of this type."""
        compiled = self._by_type.get(object_type.name)
        if compiled is None:
            fields = self._compiler.fields(object_type, self._nodes)
            compiled = self._by_type[object_type.name] = CompiledSelection(fields)
        return compiled


class PlanCompiler:
    """The inputs of the plan of one operation: schema, fragments, and the values of the variables
    in its directives. ``count_fields`` gets the number of fields of each compiled selection.
    """

    __slots__ = ("_conditions", "_count_fields", "_fragments", "_schema")

    def __init__(
        self,
        schema: GraphQLSchema,
        fragments: dict[str, FragmentDefinitionNode],
        conditions: dict[str, Any],
        count_fields: Callable[[int], None],
    ) -> None:
        self._schema = schema
        self._count_fields = count_fields
        self._fragments = fragments
        self._conditions = conditions

    def object_types(self, type_: Any) -> Sequence[GraphQLObjectType]:
        """Return the object types that a value of a composite type can have."""
        return [type_] if is_object_type(type_) else self._schema.get_possible_types(type_)

    def root_fields(
        self, root_type: GraphQLObjectType, operation: OperationDefinitionNode
    ) -> tuple[FieldPlan, ...]:
        """Compile the root fields of the operation."""
        collected = collect_fields(
            self._schema, self._fragments, self._conditions, root_type, operation.selection_set
        )
        return self._compile(root_type, collected)

    def fields(
        self, object_type: GraphQLObjectType, nodes: list[FieldNode]
    ) -> tuple[FieldPlan, ...]:
        """Compile the fields that ``nodes`` together select of an object of this type."""
        collected = collect_sub_fields(
            self._schema, self._fragments, self._conditions, object_type, nodes
        )
        return self._compile(object_type, collected)

    def _compile(
        self, object_type: GraphQLObjectType, collected: Mapping[str, list[FieldNode]]
    ) -> tuple[FieldPlan, ...]:
        fields = []
        for name, nodes in collected.items():
            definition = get_field_def(self._schema, object_type, nodes[0])
            if definition is not None:  # section 6.3: the response lacks an unknown field
                fields.append(FieldPlan(self, object_type, name, nodes, definition))
        for index, field in enumerate(fields):
            field.index = index
        self._count_fields(len(fields))
        return tuple(fields)
