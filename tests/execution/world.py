"""A GraphQL world as plain data: types and resolvers, and the schema that they define."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any
from zlib import crc32

from graphql import (
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLScalarType,
    GraphQLSchema,
    build_schema,
)

from tests.execution.outcomes import Attribute, Delivery, Raises, Step, Value, play

INPUTS = """
enum Colour { RED GREEN BLUE }
scalar Even
input Filter {
  text: String = "any"
  limits: [Int!]
  colour: Colour! = RED
  even: Even
  deeper: Filter
}
input Choice @oneOf {
  text: String
  limit: Int
  filter: Filter
}
"""


@dataclass
class FieldSpec:
    """A field: its type and arguments in SDL, and the steps of its resolver, chosen by path.

    A field without steps has no resolver.
    """

    type: str
    arguments: tuple[str, ...]
    steps: tuple[Step, ...]

    @property
    def named_type(self) -> str:
        return self.type.strip("[]!")


@dataclass
class TypeSpec:
    """An object, an interface or a union.

    ``members`` holds the possible types of an abstract type. ``question`` is the step of an
    object's ``is_type_of`` or of an abstract type's ``resolve_type``: ``Value`` gives the right
    answer, ``Raises`` raises. None stands for a type without that function.
    """

    kind: str
    fields: dict[str, FieldSpec] = field(default_factory=dict)
    interfaces: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    question: Step | None = None


@dataclass
class World:
    """A schema, the steps of its resolvers, and the attributes of its objects."""

    types: dict[str, TypeSpec]
    attributes: dict[str, Attribute] = field(default_factory=dict)

    @property
    def sdl(self) -> str:
        return INPUTS + "\n".join(_sdl(name, spec) for name, spec in self.types.items())

    def objects_of(self, name: str) -> tuple[str, ...]:
        """Return the object types of the values of this composite type."""
        return self.types[name].members or (name,)

    def schema(self, delivery: Delivery) -> GraphQLSchema:
        schema = build_schema(self.sdl)
        even = schema.type_map["Even"]
        assert isinstance(even, GraphQLScalarType)
        even.serialize = _serialize_even  # type: ignore[method-assign]
        even.parse_value = _parse_even  # type: ignore[method-assign]
        for name, spec in self.types.items():
            type_: Any = schema.type_map[name]
            for field_name, field_spec in spec.fields.items():
                if field_spec.steps and isinstance(type_, GraphQLObjectType):
                    resolve = partial(_resolve, field_spec.steps, delivery)
                    type_.fields[field_name].resolve = resolve
            if spec.question is not None and spec.kind == "type":
                type_.is_type_of = partial(_is_type_of, name, spec.question, delivery)
            elif spec.question is not None:
                type_.resolve_type = partial(_resolve_type, spec.question, delivery)
        return schema


def _sdl(name: str, spec: TypeSpec) -> str:
    if spec.kind == "union":
        return f"union {name} = {' | '.join(spec.members)}"
    implements = f" implements {' & '.join(spec.interfaces)}" if spec.interfaces else ""
    fields = "".join(
        f"  {field_name}{'(' + ', '.join(f.arguments) + ')' if f.arguments else ''}: {f.type}\n"
        for field_name, f in spec.fields.items()
    )
    return f"{spec.kind} {name}{implements} {{\n{fields}}}"


def _serialize_even(value: Any) -> int | None:
    if value == "none":
        return None
    if not isinstance(value, int) or value % 2:
        raise ValueError(f"{value!r} is not even")
    return value


def _parse_even(value: Any) -> int:
    if not isinstance(value, int) or value % 2:
        raise ValueError(f"{value!r} is not even")
    return value


def _resolve(
    steps: tuple[Step, ...],
    delivery: Delivery,
    _source: Any,
    info: GraphQLResolveInfo,
    /,
    **arguments: Any,
) -> Any:
    which = crc32(repr(info.path.as_list()).encode()) % len(steps)
    return play(steps[which], delivery, arguments)


def _is_type_of(name: str, question: Step, delivery: Delivery, value: Any, _info: Any) -> Any:
    return _ask(question, delivery, getattr(value, "type_name", None) == name)


def _resolve_type(question: Step, delivery: Delivery, value: Any, _info: Any, _type: Any) -> Any:
    return _ask(question, delivery, getattr(value, "type_name", None))


def _ask(question: Step, delivery: Delivery, honest: Any) -> Any:
    outcome = question.outcome if isinstance(question.outcome, Raises) else Value(honest)
    return play(Step(outcome, question.turns), delivery, {})
