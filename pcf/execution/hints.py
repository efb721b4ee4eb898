"""Cache hints: for how long fields may be cached, and which are the same for every viewer.

An app declares them at its graphene types::

    @cache_hints(tags=CacheHint(public=True, max_age=60), tag=CacheHint(shared=True))
    class TagQuery(graphene.ObjectType): ...

The hint of an operation is found from its selections before it is run: what ``@skip`` or
``@include`` may leave out counts as well, so the hint is at most too careful.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from graphene.utils.str_converters import to_camel_case
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

T = TypeVar("T")

_HINTS = "_pcf_cache_hints"  # attribute of a graphene type: hints by the fields' names in GraphQL
EVERY = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheHint:
    """How a field, or all of an operation, may be cached.

    ``max_age`` is in seconds, 0 means never, None that nothing limits it. ``shared`` says that the
    value is the same for every viewer, so that one response serves all; ``public`` that, and that
    HTTP caches may keep it, which do not learn of writes. ``stale`` is for how many seconds after
    its max age the value may be served while it is made anew.
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
    """Declare hints at a graphene type: of single fields by their names in Python, and of every
    field that has none of its own.

    Raises TypeError for a field that the type does not have, and for ``every`` being shared or
    public: what all viewers may see is said field by field.
    """
    if every is not None and every.is_shared:
        raise TypeError("shared and public are declared field by field, not for all of a type")

    def declare(graphene_type: type[T]) -> type[T]:
        known = graphene_type._meta.fields  # type: ignore[attr-defined]  # noqa: SLF001
        hints = {} if every is None else {EVERY: every}
        for name, hint in fields.items():
            if name not in known:
                raise TypeError(f"{graphene_type.__name__} has no field {name}")
            hints[known[name].name or to_camel_case(name)] = hint
        setattr(graphene_type, _HINTS, hints)
        return graphene_type

    return declare


def operation_hint(
    schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode
) -> CacheHint:
    """The hint of an operation of a valid document: the smallest age, public or shared only when
    every field is, stale only when every field that leads to objects says so.
    """
    fragments = {
        node.name.value: node
        for node in document.definitions
        if isinstance(node, FragmentDefinitionNode)
    }
    root = schema.get_root_type(operation.operation)
    found = list(_Reader(schema, fragments).hints(root, operation.selection_set, 0))
    ages = [hint.max_age for hint in found if hint.max_age is not None]
    return CacheHint(
        max_age=min(ages, default=None),
        public=all(hint.public for hint in found),
        shared=all(hint.is_shared for hint in found),
        stale=min((hint.stale for hint in found), default=0),
    )


class _Reader:
    """Goes through selections; every fragment is read once."""

    def __init__(self, schema: GraphQLSchema, fragments: dict[str, FragmentDefinitionNode]) -> None:
        self._schema = schema
        self._fragments = fragments
        self._read: set[tuple[str, int]] = set()

    def hints(
        self, parent: Any, selected: SelectionSetNode | None, stale: int
    ) -> Iterator[CacheHint]:
        """The hints of all fields; ``stale`` is that of the field around them."""
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
        if name.startswith("__"):  # about the schema, which is part of the key
            return
        hint = _declared(parent, name)
        field_type = get_named_type(parent.fields[name].type)
        if is_composite_type(field_type):
            yield hint
            yield from self.hints(field_type, node.selection_set, hint.stale)
        else:  # a leaf is as stale as the object it belongs to
            stale = hint.stale or stale
            yield replace(hint, stale=stale)


def _declared(parent: Any, field: str) -> CacheHint:
    """What the graphene type, or one that it is made of, says about a field."""
    every = None
    for base in getattr(parent, "graphene_type", type(None)).__mro__:
        hints = vars(base).get(_HINTS, {})
        if field in hints:
            found: CacheHint = hints[field]
            return found
        every = every or hints.get(EVERY)
    return every or NO_HINT
