"""Filters: the conditions that clients may set on the rows of a connection.

An app declares a filter for each field (``FilterSet``). The engine makes the input type of the
schema, checks what a client sends, and splits it in two: the shape, which decides the text of the
statement, and the values, which are its parameters.

``and``, ``or`` and ``not`` combine conditions. The conditions of one input hold together, so an
empty input is true. ``or: []`` is false, as an empty disjunction is. A field that is null sets no
condition.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, NamedTuple

import graphene
from django.db import router
from django.db.models import Model, Q, QuerySet
from graphql import ListValueNode, ObjectValueNode, ValueNode, VariableNode

from pcf.database.compiled_queries import AnyOf, CompiledQuery, Parameter
from pcf.database.key_types import TextKey, field_of, key_type_of
from pcf.database.query_log import declared
from pcf.errors import InvalidArgument
from pcf.pagination.filter_types import Filter, RelatedFilter

MAX_DEPTH = 5  # levels of and, or, not
MAX_CONDITIONS = 30  # of one filter

NOTHING = Q(pk__in=[])  # no row


class Condition(NamedTuple):
    """One condition: the name of its filter, the operator, and the names of its parameters."""

    name: str
    operator: str
    parameters: tuple[str, ...] = ()


class Group(NamedTuple):
    """Conditions that ``and``, ``or`` or ``not`` combines; ``not`` has one part."""

    operator: str
    parts: tuple["Condition | Group", ...]


class ParsedFilter(NamedTuple):
    """A filter that was checked.

    Attributes:
        shape: What decides the text of the statement.
        values: The parameters, by their names.
        search: The search that all rows match, if there is one.
        dependencies: What the filter reads besides columns of the rows: kinds, and their keys.
    """

    shape: Group
    values: Mapping[str, Hashable]
    search: Condition | None = None
    dependencies: tuple[tuple[str, tuple[Hashable, ...]], ...] = ()


LookUps = dict[Condition, CompiledQuery]
"""Conditions with names, and the statements that find the ids of the names."""

NO_FILTER = ParsedFilter(Group("and", ()), {})


@dataclass(frozen=True, eq=False)
class FilterSet:
    """The filters of a type: the input type ``{name}Filter``, by the Python names of its fields."""

    name: str
    model: type[Model]
    filters: Mapping[str, Filter]

    @cached_property
    def input_type(self) -> type[graphene.InputObjectType]:
        """The input type, with ``and``, ``or`` and ``not``."""
        made: list[type[graphene.InputObjectType]] = []
        several = graphene.List(graphene.NonNull(lambda: made[0]))
        fields: dict[str, Any] = {
            "and_": graphene.Field(several, name="and", description="All of these hold."),
            "or_": graphene.Field(several, name="or", description="One of these holds."),
            "not_": graphene.Field(lambda: made[0], name="not", description="This does not hold."),
        }
        for name, each in self.filters.items():
            fields[name] = graphene.Field(each.input_type(), description=each.description)
        text = f"Conditions on rows of {self.name}. All that are set must hold."
        members = {"__doc__": text, **fields}
        made.append(type(f"{self.name}Filter", (graphene.InputObjectType,), members))
        return made[0]

    def parse(self, given: Mapping[str, Any] | None) -> ParsedFilter:
        """Check a filter of a client. Raises InvalidArgument for one that is too large or wrong."""
        if not given:
            return NO_FILTER
        parser = _Parser(self)
        shape = parser.group(given, 1)
        return ParsedFilter(shape, parser.values, parser.search, tuple(parser.dependencies))

    def condition(self, shape: "Group | Condition", values: Mapping[str, Any]) -> Q:
        """Return the condition of a shape. ``values`` holds its parameters, or their stand-ins."""
        if isinstance(shape, Condition):
            parameters = [values[name] for name in shape.parameters]
            if shape.operator == "nothing":
                return NOTHING
            return self.filters[shape.name].condition(shape.operator, parameters)
        parts = [self.condition(part, values) for part in shape.parts]
        if shape.operator == "or":
            return _one_of(parts)
        every = Q()
        for part in parts:
            every &= part
        if shape.operator == "not":
            return ~every if every else NOTHING
        return every

    def columns_of(self, shape: "Group | Condition") -> Iterator[str]:
        """Yield the fields whose change decides which rows match."""
        if isinstance(shape, Condition):
            yield from self.filters[shape.name].decided_by(shape.operator)
        else:
            for part in shape.parts:
                yield from self.columns_of(part)

    def finds_keys(self, shape: "Group | Condition") -> bool:
        """Return whether a statement finds the keys of a page before it reads the rows."""
        if isinstance(shape, Condition):
            return self.filters[shape.name].finds_keys(shape.operator)
        return any(map(self.finds_keys, shape.parts))

    def look_ups(self, shape: "Group | Condition", using: str) -> "LookUps":
        """Return the conditions with names that have ids, with the statements that find the ids."""
        found: LookUps = {}
        if isinstance(shape, Group):
            for part in shape.parts:
                found |= self.look_ups(part, using)
            return found
        related = self.filters[shape.name]
        has_names = shape.operator.endswith("_names") and shape.parameters
        if has_names and isinstance(related, RelatedFilter):
            query = _ids_query(related, using)
            if query is not None and router.db_for_read(related.model) == using:
                found[shape] = query
        return found

    def with_ids(
        self,
        arguments: Mapping[str, Any],
        look_ups: "LookUps",
        using: str,
        known: dict[Any, dict[str, Any]],
    ) -> dict[str, Any]:
        """Return ``arguments`` with ids for the names of ``look_ups``, as a client sends ids.

        ``arguments`` holds the shape as ``filter``, and its parameters. ``known`` holds the ids of
        names by statement, None for a name without a row; the method adds those that it finds.
        """
        _find_ids(look_ups, arguments, using, known)
        given = dict(arguments)
        given["filter"] = _with_ids(arguments["filter"], look_ups, arguments, known, given)
        return given


def _with_ids(
    shape: "Group | Condition", look_ups: "LookUps", arguments: Mapping[str, Any],
    known: dict[Any, dict[str, Any]], given: dict[str, Any],
) -> "Group | Condition":  # fmt: skip
    """Return the shape with conditions on ids; ``given`` gets the ids in the place of the names."""
    if isinstance(shape, Group):
        parts = [_with_ids(part, look_ups, arguments, known, given) for part in shape.parts]
        return shape._replace(parts=tuple(parts))
    if shape not in look_ups:
        return shape
    ids, is_all = known[look_ups[shape]], shape.operator == "all_names"
    for parameter in shape.parameters:
        keys = [ids[name] for name in _names_in(arguments[parameter])]
        if is_all and None in keys:
            return Condition(shape.name, "nothing")
        some = tuple(key for key in keys if key is not None)
        given[parameter] = some[0] if is_all else some
    return shape._replace(operator=shape.operator.replace("_names", "_ids"))


def _one_of(parts: Sequence[Q]) -> Q:
    """Return the disjunction. An empty Q is true, which Django's own operator ignores."""
    if not all(parts):
        return Q()
    some = NOTHING
    for part in parts:
        some = part if some is NOTHING else some | part
    return some


def _find_ids(
    look_ups: LookUps, arguments: Mapping[str, Any], using: str, known: dict[Any, dict[str, Any]]
) -> None:
    """Add the ids of names to what is ``known``, with one statement for each relation."""
    names: dict[CompiledQuery, set[str]] = {}
    for condition, query in look_ups.items():
        for parameter in condition.parameters:
            names.setdefault(query, set()).update(_names_in(arguments[parameter]))
    for query, asked in names.items():
        ids = known.setdefault(query, {})
        if unknown := sorted(asked - ids.keys()):
            rows = declared(query.rows, using, {"names": unknown})
            ids.update(dict.fromkeys(unknown) | {name: key for name, key, *_ in rows})


def _names_in(value: Any) -> tuple[str, ...]:
    """Return the names in a parameter: a list, or one name of ``all``."""
    return value if isinstance(value, tuple) else (value,)


@cache
def _ids_query(related: RelatedFilter, using: str) -> CompiledQuery | None:
    """Return the statement that finds the names and the ids of the rows with ``names``.

    Returns None when a name may have several ids, when PostgreSQL and Python may disagree about
    equal names, and when the model's manager hides rows.
    """
    field = field_of(related.model, related.by_name)
    hides_rows = bool(related.model._default_manager.all().query.where)  # noqa: SLF001
    if not field.unique or not isinstance(key_type_of(field), TextKey) or hides_rows:
        return None
    key = field_of(related.through, related.target).target_field.attname  # type: ignore[arg-type]
    rows: QuerySet[Any, Any] = QuerySet(related.model).filter(
        AnyOf(related.by_name, Parameter("names"))
    )
    return CompiledQuery(rows.order_by().values_list(related.by_name, key), using)


class _Parser:
    """The walk through one filter that a client has sent."""

    def __init__(self, filters: FilterSet) -> None:
        self._filters = filters
        self._count = 0
        self.values: dict[str, Hashable] = {}
        self.search: Condition | None = None
        self.dependencies: list[tuple[str, tuple[Hashable, ...]]] = []

    def group(self, given: Mapping[str, Any], depth: int) -> Group:
        """Return the shape of an input, whose conditions all hold."""
        if depth > MAX_DEPTH:
            raise InvalidArgument(f"a filter may have {MAX_DEPTH} levels")
        parts: list[Condition | Group] = []
        for name, value in given.items():
            if value is None:
                continue
            if name in {"and_", "or_"}:
                inner = tuple(self.group(each, depth + 1) for each in value)
                parts.append(Group(name.rstrip("_"), inner))
            elif name == "not_":
                parts.append(Group("not", (self.group(value, depth + 1),)))
            else:
                parts += self._conditions(name, value, depth)
        return Group("and", tuple(parts))

    def _conditions(self, name: str, given: Any, depth: int) -> Iterator[Condition]:
        each = self._filters.filters[name]
        for operator, value in each.inputs(given):
            found = each.parse(operator, value, self._filters.model)
            if found is None:
                yield Condition(name, "nothing")
                continue
            self._count += max(1, len(found))
            if self._count > MAX_CONDITIONS:
                raise InvalidArgument(f"a filter may have {MAX_CONDITIONS} conditions")
            names = []
            for parameter in found:
                names.append(f"filter_{len(self.values)}")
                self.values[names[-1]] = parameter
            self.dependencies += each.dependencies(operator, value)
            condition = Condition(name, operator, tuple(names))
            if each.is_search and depth == 1 and self.search is None:
                self.search = condition
            yield condition


def condition_count(node: ValueNode, variables: Mapping[str, Any]) -> int:
    """Return the number of conditions in a filter of a document, for the cost of the operation.

    A condition is a field that holds no other. ``variables`` are as the client has sent them.
    """
    if isinstance(node, VariableNode):
        return _json_condition_count(variables.get(node.name.value))
    if isinstance(node, ObjectValueNode):
        return sum(condition_count(field.value, variables) for field in node.fields)
    if isinstance(node, ListValueNode):
        objects = [each for each in node.values if isinstance(each, ObjectValueNode)]
        if objects:
            return sum(condition_count(each, variables) for each in objects)
    return 1


def _json_condition_count(value: Any) -> int:
    if isinstance(value, dict):
        return sum(map(_json_condition_count, value.values()))
    if isinstance(value, list) and any(isinstance(each, dict) for each in value):
        return sum(map(_json_condition_count, value))
    return 1
