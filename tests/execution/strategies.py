"""Hypothesis strategies for GraphQL worlds: a schema and its resolvers.

``worlds()`` draws a ``World``, which is plain data. It prints and shrinks well, since Hypothesis
draws every outcome. ``World.schema(delivery)`` builds its GraphQLSchema; the ``Delivery`` decides
the form of later outcomes. Fields have resolvers, or the default resolver reads attributes, entries
and methods. ``operation_strategies`` draws operations on a world.
"""

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, cast

from hypothesis import strategies as st

from tests.execution.outcomes import (
    ERRORS,
    ITERABLES,
    ODD,
    Attribute,
    Count,
    Echo,
    Items,
    MappingSource,
    NamedSource,
    Outcome,
    Raises,
    Source,
    Step,
    Value,
)
from tests.execution.world import FieldSpec, TypeSpec, World

Draw = Callable[[st.SearchStrategy[Any]], Any]

LEAVES: dict[str, tuple[Any, ...]] = {
    "String": ("", "text", 7, True),
    "Int": (0, -3, "12", 2**40),
    "Float": (1.5, 2, "x"),
    "Boolean": (True, False, 1, "yes"),
    "ID": ("a", 5, 1.5),
    "Colour": ("RED", "GREEN", "PURPLE"),
    "Even": (2, 4, 3, "none"),
}
ARGUMENTS = tuple(
    f"{name}: {type_}"
    for name, type_ in (
        ("a", "Int"),
        ("b", "Int!"),
        ("c", "String"),
        ("d", "[Int!]"),
        ("e", "Colour"),
        ("f", "Even"),
        ("g", "Filter"),
        ("h", "Choice"),
        ("a", "Int = 8"),
        ("b", "Int! = 9"),
        ("d", "[Int!] = [1]"),
        ("g", 'Filter = { text: "default" }'),
    )
)


@cache
def _sampled(options: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    """Return a cached strategy: making one costs more than drawing from it."""
    return st.sampled_from(options)


def pick(draw: Draw, *options: Any) -> Any:
    """Return one of the options. An example shrinks towards the first."""
    return draw(_sampled(options))


def chance(draw: Draw, percent: int) -> bool:
    """Return True in about ``percent`` of all cases. An example shrinks towards False."""
    return bool(draw(_PERCENT) >= 100 - percent)


_PERCENT = st.sampled_from(range(100))


def _some(draw: Draw, options: Iterable[Any], percent: int) -> list[Any]:
    return [option for option in options if chance(draw, percent)]


@st.composite
def worlds(draw: Draw) -> World:
    """Draw a schema with up to three objects besides the roots, two interfaces and a union."""
    world = World(_draw_types(draw))
    for name, spec in world.types.items():
        if spec.kind != "union":
            for number in range(pick(draw, 3, 2, 4, 1)):
                field_name = f"{name.lower()}f{number}"
                spec.fields[field_name] = _draw_field(draw, world, name, field_name)
    for spec in world.types.values():
        for interface in spec.interfaces:
            for field_name, declared in world.types[interface].fields.items():
                several = declared.steps and _draw_steps(draw, world, declared.type)
                spec.fields[field_name] = FieldSpec(declared.type, declared.arguments, several)
    return world


def _draw_types(draw: Draw) -> dict[str, TypeSpec]:
    """Draw the types without their fields."""
    objects = [f"O{n}" for n in range(pick(draw, 2, 3, 1))]
    interfaces = [f"I{n}" for n in range(pick(draw, 1, 2, 0))]
    types: dict[str, TypeSpec] = {}
    for name in objects:
        own = tuple(_some(draw, interfaces, 60))
        types[name] = TypeSpec("type", interfaces=own, question=_draw_question(draw, 50))
    for name in interfaces:
        members = tuple(o for o in objects if name in types[o].interfaces)
        question = _draw_question(draw, 60)
        types[name] = TypeSpec("interface", members=members, question=question)
    if chance(draw, 60):
        members = tuple(_some(draw, objects, 70) or objects[:1])
        types["U0"] = TypeSpec("union", members=members, question=_draw_question(draw, 60))
    return types | {"Query": TypeSpec("type"), "Mutation": TypeSpec("type")}


def _draw_question(draw: Draw, percent: int) -> Step | None:
    if not chance(draw, percent):
        return None
    # One error for all types: when several answers fail, time decides which error counts.
    error = Raises(ValueError, "no answer")
    return Step(error if chance(draw, 8) else Value(None), _draw_turns(draw))


def _draw_turns(draw: Draw) -> int | None:
    return cast("int | None", pick(draw, None, None, None, 0, 1, 2))


def _draw_field(draw: Draw, world: World, type_name: str, name: str) -> FieldSpec:
    if type_name == "Mutation" and chance(draw, 30):
        return FieldSpec("Int!", (), (Step(Count(writes=True), _draw_turns(draw)),))
    if chance(draw, 55):
        type_ = pick(draw, *(name for name in world.types if name not in {"Query", "Mutation"}))
    else:
        type_ = pick(draw, *LEAVES)
    type_ += pick(draw, "", "!")
    for _ in range(pick(draw, 0, 0, 0, 1, 1, 2, 3)):
        type_ = f"[{type_}]" + pick(draw, "", "!")
    if type_name in {"Query", "Mutation"} and not chance(draw, 15):
        type_ = type_.removesuffix("!")  # else many responses were null as a whole
    count = pick(draw, 1, 0, 2, 1, 0, 3)
    arguments = {text[0]: text for text in (pick(draw, *ARGUMENTS) for _ in range(count))}
    steps = _draw_steps(draw, world, type_)
    if chance(draw, 25):  # the default resolver reads it
        outcome = steps[0].outcome
        if isinstance(outcome, Value | Raises):
            kind = pick(draw, "value", "method", "property")
            if kind != "value" or isinstance(outcome, Value) or outcome.returned:
                world.attributes[name] = Attribute(kind, outcome)
        steps = ()
    return FieldSpec(type_, tuple(arguments.values()), steps)


def _draw_steps(draw: Draw, world: World, type_: str) -> tuple[Step, ...]:
    return tuple(_draw_step(draw, world, type_) for _ in range(pick(draw, 1, 2, 3)))


def _draw_step(draw: Draw, world: World, type_: str) -> Step:
    """Draw the step of a resolver of this type (in SDL); most steps are valid."""
    outcome: Outcome
    if not chance(draw, 13):
        outcome = _draw_right(draw, world, type_.removesuffix("!"))
    elif chance(draw, 35):
        outcome = Value(None)
    elif chance(draw, 70):
        outcome = Raises(pick(draw, *ERRORS), pick(draw, "boom", "bang"), chance(draw, 30))
    else:
        outcome = Value(pick(draw, ODD, 5, "wrong"))
    turns = _draw_turns(draw)
    if isinstance(outcome, Raises) and outcome.kind is StopIteration:
        turns = None  # a coroutine cannot raise it
    return Step(outcome, turns)


def _draw_right(draw: Draw, world: World, type_: str) -> Outcome:
    if type_.startswith("["):
        items = (_draw_step(draw, world, type_[1:-1]) for _ in range(pick(draw, 2, 1, 3, 4, 0)))
        return Items(pick(draw, *ITERABLES, "generator"), tuple(items))
    if type_ in LEAVES:
        if type_ == "String" and chance(draw, 50):
            return Echo()
        if type_ == "Int" and chance(draw, 10):
            return Count(writes=False)
        values = LEAVES[type_]
        return Value(pick(draw, *(values if chance(draw, 10) else values[:2])))
    possible = world.objects_of(type_) or ("O0",)
    name = pick(draw, "O0", "Nothing", 5) if chance(draw, 5) else pick(draw, *possible)
    if not isinstance(name, str):
        return Value(Source(name, world.attributes))
    kind = pick(draw, NamedSource, NamedSource, Source, MappingSource)
    return Value(kind(name, world.attributes))
