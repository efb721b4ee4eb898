"""Cache hints: how long caches may keep the value of a field, and which viewers may share it.

An app declares hints at its graphene types::

    @cache_hints(tags=CacheHint(public=True, max_age=60), tag=CacheHint(shared=True))
    class TagQuery(graphene.ObjectType): ...

PCF computes the hint of an operation from its selections, before it runs the operation. Fields that
``@skip`` or ``@include`` may leave out count as well. So the hint may be stricter than necessary,
but never too loose.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    get_named_type,
    is_composite_type,
)

from pcf._compat.graphene import declared_fields, graphene_type_of, name_in_schema

T = TypeVar("T")

# The attribute of a graphene type that holds its hints, by the GraphQL names of the fields.
_HINTS = "_pcf_cache_hints"
EVERY = "*"  # the name under which the attribute holds the hint of all other fields


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheHint:
    """How caches may keep the value of a field, or the response of an operation.

    Attributes:
        max_age: The longest time in seconds; 0 forbids caches to keep the value, None sets no
            limit.
        public: Whether HTTP caches may keep the value and serve it to every viewer. HTTP caches do
            not learn of writes.
        stale: The seconds after ``max_age`` in which the response cache may serve the value while
            it computes a new one.
        shared: Whether the value is the same for every viewer, so that one response serves all.
    """

    max_age: int | None = None
    public: bool = False
    stale: int = 0
    shared: bool = False

    def __post_init__(self) -> None:
        if (self.max_age or 0) < 0 or self.stale < 0:
            raise ValueError("max_age and stale are seconds, 0 or more")

    @property
    def is_shared(self) -> bool:
        """Whether one response serves all viewers."""
        return self.shared or self.public


NO_HINT = CacheHint()


def cache_hints(
    every: CacheHint | None = None, **fields: CacheHint
) -> Callable[[type[T]], type[T]]:
    """Declare the hints of a graphene type.

    ``fields`` holds hints by the Python names of fields. ``every`` is the hint of all other fields.
    Raises TypeError for a field that the type does not have. Raises TypeError as well when
    ``every`` is shared or public: an app declares those for each field.
    """
    if every is not None and every.is_shared:
        raise TypeError("shared and public are declared field by field, not for all of a type")

    def declare(graphene_type: type[T]) -> type[T]:
        known = declared_fields(graphene_type)
        hints = {} if every is None else {EVERY: every}
        for name, hint in fields.items():
            if name not in known:
                raise TypeError(f"{graphene_type.__name__} has no field {name}")
            hints[name_in_schema(name, known[name])] = hint
        setattr(graphene_type, _HINTS, hints)
        return graphene_type

    return declare


def operation_hint(
    schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode
) -> CacheHint:
    """Return the hint of an operation of a valid document.

    Its ``max_age`` and its ``stale`` are the smallest of all fields. The operation is public or
    shared only when every field is. A leaf field without a ``stale`` has that of its object.
    """
    fragments = {
        node.name.value: node
        for node in document.definitions
        if isinstance(node, FragmentDefinitionNode)
    }
    root = schema.get_root_type(operation.operation)
    found = list(_HintCollector(schema, fragments).hints(root, operation.selection_set, 0))
    ages = [hint.max_age for hint in found if hint.max_age is not None]
    return CacheHint(
        max_age=min(ages, default=None),
        public=all(hint.public for hint in found),
        shared=all(hint.is_shared for hint in found),
        stale=min((hint.stale for hint in found), default=0),
    )


class _HintCollector:
    """The walk through the selections of an operation, which reads each fragment once."""

    def __init__(self, schema: GraphQLSchema, fragments: dict[str, FragmentDefinitionNode]) -> None:
        self._schema = schema
        self._fragments = fragments
        self._read: set[tuple[str, int]] = set()

    def hints(
        self, parent: Any, selected: SelectionSetNode | None, stale: int
    ) -> Iterator[CacheHint]:
        """Yield the hints of all selected fields. ``stale`` is that of the field around them."""
        for node in selected.selections if selected else ():
            if isinstance(node, FieldNode):
                yield from self._field(parent, node, stale)
            elif isinstance(node, InlineFragmentNode):
                on = node.type_condition
                inner = self._schema.get_type(on.name.value) if on else parent
                yield from self.hints(inner, node.selection_set, stale)
            elif (
                isinstance(node, FragmentSpreadNode) and (node.name.value, stale) not in self._read
            ):
                self._read.add((node.name.value, stale))
                fragment = self._fragments[node.name.value]
                on_type = self._schema.get_type(fragment.type_condition.name.value)
                yield from self.hints(on_type, fragment.selection_set, stale)

    def _field(self, parent: Any, node: FieldNode, stale: int) -> Iterator[CacheHint]:
        name = node.name.value
        if name.startswith("__"):  # introspection: the schema is part of the cache key
            return
        hint = _declared(parent, name)
        field_type = get_named_type(parent.fields[name].type)
        if is_composite_type(field_type):
            yield hint
            yield from self.hints(field_type, node.selection_set, hint.stale)
        else:
            stale = hint.stale or stale
            yield replace(hint, stale=stale)


def _declared(parent: Any, field: str) -> CacheHint:
    """Return the hint that the graphene type of ``parent``, or a base class of it, declares."""
    every = None
    for base in (graphene_type_of(parent) or type(None)).__mro__:
        hints = vars(base).get(_HINTS, {})
        if field in hints:
            found: CacheHint = hints[field]
            return found
        every = every or hints.get(EVERY)
    return every or NO_HINT
