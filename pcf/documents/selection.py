"""The selections of an operation as a tree: fragments expanded, equal fields merged, types known.

The tree exists before validation, so the document may not fit the schema. A field that the schema
does not have has no definition here; validation reports it later. Earlier checks (``limits``)
guarantee that the document has no cycles and at most ``documents.max_complexity`` fields.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

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
    is_abstract_type,
    is_list_type,
)

from pcf._compat.graphql import get_field_def
from pcf.conf.sections import DocumentSettings
from pcf.documents.limits import DocumentTooLarge, too_large
from pcf.errors import ClientError

# The introspection fields that are lists of introspection types, as in a rule of graphql-js.
SCHEMA_LISTS = frozenset({"fields", "inputFields", "interfaces", "possibleTypes"})


class IntrospectionDisabled(DocumentTooLarge):
    """The service does not answer introspection queries."""

    code = "INTROSPECTION_DISABLED"


class OperationNotSupported(ClientError):
    """The schema has no root type for this type of operation."""

    code = "GRAPHQL_VALIDATION_FAILED"


@dataclass(slots=True)
class SelectedField:
    """One field of a selection set, after merging.

    ``name`` is the name in the response, ``node`` the first of the merged nodes.
    """

    name: str
    node: FieldNode
    definition: GraphQLField | None
    children: "SelectedFields"

    @property
    def is_list(self) -> bool:
        """Whether the value of the field is a list."""
        return self.definition is not None and is_list_type(
            get_nullable_type(self.definition.type)  # type: ignore[arg-type]
        )

    @property
    def is_introspection(self) -> bool:
        """Whether the field belongs to introspection."""
        return self.node.name.value.startswith("__")


class SelectedFields(dict[tuple[str, str, str], SelectedField]):
    """The fields of a selection set, by a type, their name in the response, and their own name.

    The type is empty when the value is of one object type. Where it may be of several types, two of
    them may have fields with one name and different arguments (section 5.3.2). Such fields do not
    merge. ``counts`` holds the number of nodes by the two names.
    """

    def __init__(self, *, by_type: bool = False) -> None:
        super().__init__()
        self.by_type = by_type
        self.counts: Counter[tuple[str, str]] = Counter()


class _FieldCollector:
    """The collector of the fields of one operation."""

    def __init__(
        self, schema: GraphQLSchema, document: DocumentNode, limits: DocumentSettings
    ) -> None:
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
        into: SelectedFields,
    ) -> None:
        """Add the fields that ``selection_set`` selects of an object of ``type_`` to ``into``."""
        for selection in selection_set.selections if selection_set else ():
            if isinstance(selection, FieldNode):
                self._field(selection, type_, into)
            elif isinstance(selection, InlineFragmentNode):
                condition = selection.type_condition
                narrowed = self._schema.get_type(condition.name.value) if condition else type_
                self.collect(selection.selection_set, narrowed, into)
            elif isinstance(selection, FragmentSpreadNode):
                self._spread(selection.name.value, into)

    def _field(self, node: FieldNode, type_: GraphQLNamedType | None, into: SelectedFields) -> None:
        names = node.alias.value if node.alias else node.name.value, node.name.value
        into.counts[names] += 1
        if into.counts[names] > self._limits.max_repeats:
            raise too_large(
                "repeats", self._limits.max_repeats, "times the same field at one place"
            )
        type_name = type_.name if into.by_type and type_ is not None else ""
        selected = into.get((type_name, *names))
        definition = selected.definition if selected else self._definition(type_, node)
        inner = get_named_type(definition.type) if definition else None
        if selected is None:
            children = SelectedFields(by_type=is_abstract_type(inner))
            selected = SelectedField(names[0], node, definition, children)
            into[(type_name, *names)] = selected
        self.collect(node.selection_set, inner, selected.children)

    def _spread(self, name: str, into: SelectedFields) -> None:
        fragment = self._fragments.get(name)
        if fragment is not None:
            type_ = self._schema.get_type(fragment.type_condition.name.value)
            self.collect(fragment.selection_set, type_, into)

    def _definition(self, type_: GraphQLNamedType | None, node: FieldNode) -> GraphQLField | None:
        if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType):
            return get_field_def(self._schema, type_, node)  # type: ignore[arg-type]
        return None


def select_root_fields(
    schema: GraphQLSchema,
    document: DocumentNode,
    operation: OperationDefinitionNode,
    limits: DocumentSettings,
) -> list[SelectedField]:
    """Return the root fields of ``operation``, with all fields below them.

    Raises DocumentTooLarge for too many root fields, lists within lists, repetitions of a field, or
    levels of introspection; IntrospectionDisabled when the settings forbid introspection; and
    OperationNotSupported for a subscription.
    """
    tree = SelectedFields()
    root_type = schema.get_root_type(operation.operation)
    if root_type is None:
        type_name = operation.operation.value
        raise OperationNotSupported(f"The schema has no operations of type '{type_name}'.")
    _FieldCollector(schema, document, limits).collect(operation.selection_set, root_type, tree)
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


def _walk(roots: list[SelectedField]) -> Iterator[tuple[int, int, SelectedField]]:
    """Yield each field behind two numbers: the lists and the introspection lists above it.

    The numbers include the field itself.
    """
    remaining = [(0, 0, False, root) for root in roots]
    while remaining:
        lists, schema_lists, in_introspection, selected = remaining.pop()
        in_introspection = in_introspection or selected.is_introspection
        if in_introspection:
            schema_lists += selected.node.name.value in SCHEMA_LISTS
        else:
            lists += selected.is_list
        yield lists, schema_lists, selected
        remaining.extend(
            (lists, schema_lists, in_introspection, child) for child in selected.children.values()
        )
