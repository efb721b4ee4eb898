"""What an operation selects, as a tree: fragments expanded, equal fields merged, types known.

The tree is made before validation, from a document that may be nonsense: what the schema does not
know has no type here, and validation will say so. That there are no cycles and no more than
``documents.max_complexity`` fields has been checked before.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    get_named_type,
    get_nullable_type,
    is_list_type,
)
from graphql.execution.execute import get_field_def

from pcf.config import Documents
from pcf.documents.scan import DocumentTooLarge, too_large
from pcf.errors import ClientError

# the fields of the schema's own types that lead to lists of such types; as graphql-js counts them
SCHEMA_LISTS = frozenset({"fields", "inputFields", "interfaces", "possibleTypes"})


class IntrospectionDisabled(DocumentTooLarge):
    """The schema cannot be asked about itself here."""

    code = "INTROSPECTION_DISABLED"


class OperationNotSupported(ClientError):
    """The schema has no operations of this type."""

    code = "GRAPHQL_VALIDATION_FAILED"


@dataclass(slots=True)
class Selected:
    """One field at one place: ``name`` in the response, the first ``node``, its definition.

    ``count`` is how many fields of the text were merged into it.
    """

    name: str
    node: FieldNode
    definition: GraphQLField | None
    count: int = 0
    children: dict[tuple[str, str], "Selected"] = field(default_factory=dict)

    @property
    def is_list(self) -> bool:
        """Whether its value is a list."""
        return self.definition is not None and is_list_type(
            get_nullable_type(self.definition.type)  # type: ignore[arg-type]
        )

    @property
    def is_introspection(self) -> bool:
        """Whether it asks about the schema."""
        return self.node.name.value.startswith("__")


class _Selector:
    """Builds the tree of one operation."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode, limits: Documents) -> None:
        self._schema = schema
        self._limits = limits
        self._fragments = {
            node.name.value: node
            for node in document.definitions
            if isinstance(node, FragmentDefinitionNode)
        }

    def collect(
        self,
        selection_set: SelectionSetNode | None,
        type_: GraphQLNamedType | None,
        into: dict[tuple[str, str], Selected],
    ) -> None:
        """Add what ``selection_set`` selects of an object of ``type_``."""
        for selection in selection_set.selections if selection_set else ():
            if isinstance(selection, FieldNode):
                self._field(selection, type_, into)
            elif isinstance(selection, InlineFragmentNode):
                condition = selection.type_condition
                narrowed = self._schema.get_type(condition.name.value) if condition else type_
                self.collect(selection.selection_set, narrowed, into)
            elif isinstance(selection, FragmentSpreadNode):
                self._spread(selection.name.value, into)

    def _field(
        self,
        node: FieldNode,
        type_: GraphQLNamedType | None,
        into: dict[tuple[str, str], Selected],
    ) -> None:
        name = node.alias.value if node.alias else node.name.value
        selected = into.get((name, node.name.value))
        if selected is None:
            selected = Selected(name, node, self._definition(type_, node))
            into[name, node.name.value] = selected
        selected.count += 1
        if selected.count > self._limits.max_repeats:
            raise too_large(
                "repeats", self._limits.max_repeats, "times the same field at one place"
            )
        definition = selected.definition
        inner = get_named_type(definition.type) if definition else None
        self.collect(node.selection_set, inner, selected.children)

    def _spread(self, name: str, into: dict[tuple[str, str], Selected]) -> None:
        fragment = self._fragments.get(name)
        if fragment is not None:
            type_ = self._schema.get_type(fragment.type_condition.name.value)
            self.collect(fragment.selection_set, type_, into)

    def _definition(self, type_: GraphQLNamedType | None, node: FieldNode) -> GraphQLField | None:
        if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType):
            return get_field_def(self._schema, type_, node)  # type: ignore[arg-type]
        return None


def select(
    schema: GraphQLSchema,
    document: DocumentNode,
    operation: OperationDefinitionNode,
    limits: Documents,
) -> list[Selected]:
    """The root fields of ``operation``, with all below them.

    Raises DocumentTooLarge for too many root fields, lists within lists, repetitions of a field and
    too deep a look into the schema; IntrospectionDisabled where none is allowed;
    OperationNotSupported for a subscription.
    """
    tree: dict[tuple[str, str], Selected] = {}
    root_type = schema.get_root_type(operation.operation)
    if root_type is None:
        kind = operation.operation.value
        raise OperationNotSupported(f"The schema has no operations of type '{kind}'.")
    _Selector(schema, document, limits).collect(operation.selection_set, root_type, tree)
    roots = list(tree.values())
    if len(roots) > limits.max_root_fields:
        raise too_large("root_fields", limits.max_root_fields, "root fields")
    for depth, schema_depth, selected in _walk(roots):
        if depth > limits.max_list_depth:
            raise too_large("list_depth", limits.max_list_depth, "lists within each other")
        if schema_depth > limits.max_introspection_depth:
            raise too_large(
                "introspection_depth",
                limits.max_introspection_depth,
                "lists of the schema within each other",
            )
        if selected.node.name.value in {"__schema", "__type"} and not limits.introspection:
            raise IntrospectionDisabled("introspection", 0, "Introspection is switched off here")
    return roots


def _walk(roots: list[Selected]) -> Iterator[tuple[int, int, Selected]]:
    """Each field with how many lists, and lists of the schema, lead to it, its own included."""
    waiting = [(0, 0, False, root) for root in roots]
    while waiting:
        lists, schema_lists, about_schema, selected = waiting.pop()
        about_schema = about_schema or selected.is_introspection
        if about_schema:
            schema_lists += selected.node.name.value in SCHEMA_LISTS
        else:
            lists += selected.is_list
        yield lists, schema_lists, selected
        waiting.extend(
            (lists, schema_lists, about_schema, child) for child in selected.children.values()
        )
