"""Hypothesis strategies for whole GraphQL worlds: a schema, its resolvers, and operations.

``worlds()`` draws a ``World``, which is plain data. It prints and shrinks well, since Hypothesis
draws every outcome. ``World.schema(delivery)`` builds its GraphQLSchema; the ``Delivery`` decides
the form of later outcomes. Fields have resolvers, or the default resolver reads attributes, entries
and methods. ``operations(world)`` draws documents with variables, and middleware. The documents
cover fragments (named and inline, nested, reused), aliases, merged fields, ``@skip`` and
``@include``, ``__typename``, arguments with literals, variables and defaults, input objects, OneOf
included, several operations in one document, and variables that cannot be coerced. One in four is
not valid.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from hypothesis import strategies as st

from tests.execution.outcomes import (
    ERRORS,
    ITERABLES,
    LAYERS,
    ODD,
    Attribute,
    Count,
    Echo,
    Items,
    Layer,
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
LITERALS: dict[str, tuple[str, ...]] = {
    "Int": ("1", "-5", "null"),
    "Int!": ("3",),
    "String": ('"s"', "null", '"""block"""'),
    "Boolean!": ("true", "false"),
    "[Int!]": ("[1, 2]", "[]", "9", "null"),
    "Colour": ("RED", "null"),
    "Even": ("2", "null"),
    "Filter": (
        "{}",
        "{ text: null, limits: 1 }",
        "{ colour: BLUE, even: 4, deeper: { limits: [3] } }",
        "null",
    ),
    "Choice": ('{ text: "t" }', "{ limit: 2 }", "{ filter: { limits: 1 } }", "null"),
}
VARIABLES: dict[str, tuple[Any, ...]] = {
    "Int": (1, None),
    "Int!": (3,),
    "String": ("v", None),
    "Boolean!": (True, False),
    "[Int!]": ([4, 5], 6, None),
    "Colour": ("GREEN", None),
    "Even": (6, None),
    "Filter": ({}, {"limits": [7], "colour": "BLUE"}, {"deeper": {"text": "t"}}, None),
    "Choice": ({"text": "v"}, {"filter": {}}, None),
}
UNCOERCIBLE: dict[str, tuple[Any, ...]] = {
    "Int": ("one",),
    "Colour": ("PURPLE",),
    "Even": (3,),
    "Filter": ({"no": 1},),
    "Choice": ({}, {"text": None}, {"text": "v", "limit": 1}, {"no": 1}),
}
WRONG = ("$unknown", '"wrong"', "{}", "null", "[1.5]")
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


def _pick(draw: Draw, *options: Any) -> Any:
    return draw(_sampled(options))


def _chance(draw: Draw, percent: int) -> bool:
    """Return True in about ``percent`` of all cases. An example shrinks towards False."""
    return bool(draw(_PERCENT) >= 100 - percent)


_PERCENT = st.sampled_from(range(100))


def _some(draw: Draw, options: Iterable[Any], percent: int) -> list[Any]:
    return [option for option in options if _chance(draw, percent)]


# -- schemas ------------------------------------------------------------------------------------


@st.composite
def worlds(draw: Draw) -> World:
    """Draw a schema with up to three objects besides the roots, two interfaces and a union."""
    world = World(_draw_types(draw))
    for name, spec in world.types.items():
        if spec.kind != "union":
            for number in range(_pick(draw, 3, 2, 4, 1)):
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
    objects = [f"O{n}" for n in range(_pick(draw, 2, 3, 1))]
    interfaces = [f"I{n}" for n in range(_pick(draw, 1, 2, 0))]
    types: dict[str, TypeSpec] = {}
    for name in objects:
        own = tuple(_some(draw, interfaces, 60))
        types[name] = TypeSpec("type", interfaces=own, question=_draw_question(draw, 50))
    for name in interfaces:
        members = tuple(o for o in objects if name in types[o].interfaces)
        question = _draw_question(draw, 60)
        types[name] = TypeSpec("interface", members=members, question=question)
    if _chance(draw, 60):
        members = tuple(_some(draw, objects, 70) or objects[:1])
        types["U0"] = TypeSpec("union", members=members, question=_draw_question(draw, 60))
    return types | {"Query": TypeSpec("type"), "Mutation": TypeSpec("type")}


def _draw_question(draw: Draw, percent: int) -> Step | None:
    if not _chance(draw, percent):
        return None
    # One error for all types: when several answers fail, time decides which error counts.
    error = Raises(ValueError, "no answer")
    return Step(error if _chance(draw, 8) else Value(None), _draw_turns(draw))


def _draw_turns(draw: Draw) -> int | None:
    return cast("int | None", _pick(draw, None, None, None, 0, 1, 2))


def _draw_field(draw: Draw, world: World, type_name: str, name: str) -> FieldSpec:
    if type_name == "Mutation" and _chance(draw, 30):
        return FieldSpec("Int!", (), (Step(Count(writes=True), _draw_turns(draw)),))
    if _chance(draw, 55):
        type_ = _pick(draw, *(name for name in world.types if name not in {"Query", "Mutation"}))
    else:
        type_ = _pick(draw, *LEAVES)
    type_ += _pick(draw, "", "!")
    for _ in range(_pick(draw, 0, 0, 0, 1, 1, 2, 3)):
        type_ = f"[{type_}]" + _pick(draw, "", "!")
    if type_name in {"Query", "Mutation"} and not _chance(draw, 15):
        type_ = type_.removesuffix("!")  # else many responses were null as a whole
    arguments = {text[0]: text for text in _some(draw, ARGUMENTS, 10)}
    steps = _draw_steps(draw, world, type_)
    if _chance(draw, 25):  # the default resolver reads it
        outcome = steps[0].outcome
        if isinstance(outcome, Value | Raises):
            kind = _pick(draw, "value", "method", "property")
            if kind != "value" or isinstance(outcome, Value) or outcome.returned:
                world.attributes[name] = Attribute(kind, outcome)
        steps = ()
    return FieldSpec(type_, tuple(arguments.values()), steps)


def _draw_steps(draw: Draw, world: World, type_: str) -> tuple[Step, ...]:
    return tuple(_draw_step(draw, world, type_) for _ in range(_pick(draw, 1, 2, 3)))


def _draw_step(draw: Draw, world: World, type_: str) -> Step:
    """Draw the step of a resolver of this type (in SDL); most steps are valid."""
    outcome: Outcome
    if not _chance(draw, 13):
        outcome = _draw_right(draw, world, type_.removesuffix("!"))
    elif _chance(draw, 35):
        outcome = Value(None)
    elif _chance(draw, 70):
        outcome = Raises(_pick(draw, *ERRORS), _pick(draw, "boom", "bang"), _chance(draw, 30))
    else:
        outcome = Value(_pick(draw, ODD, 5, "wrong"))
    turns = _draw_turns(draw)
    if isinstance(outcome, Raises) and outcome.kind is StopIteration:
        turns = None  # a coroutine cannot raise it
    return Step(outcome, turns)


def _draw_right(draw: Draw, world: World, type_: str) -> Outcome:
    if type_.startswith("["):
        items = (_draw_step(draw, world, type_[1:-1]) for _ in range(_pick(draw, 2, 1, 3, 4, 0)))
        return Items(_pick(draw, *ITERABLES, "generator"), tuple(items))
    if type_ in LEAVES:
        if type_ == "String" and _chance(draw, 50):
            return Echo()
        if type_ == "Int" and _chance(draw, 10):
            return Count(writes=False)
        values = LEAVES[type_]
        return Value(_pick(draw, *(values if _chance(draw, 10) else values[:2])))
    possible = world.objects_of(type_) or ("O0",)
    name = _pick(draw, "O0", "Nothing", 5) if _chance(draw, 5) else _pick(draw, *possible)
    if not isinstance(name, str):
        return Value(Source(name, world.attributes))
    kind = _pick(draw, NamedSource, NamedSource, Source, MappingSource)
    return Value(kind(name, world.attributes))


# -- operations ---------------------------------------------------------------------------------


@dataclass
class Operation:
    """A document, the operation name and the variables."""

    text: str
    name: str | None
    variables: dict[str, Any]
    other_variables: dict[str, Any]
    is_valid: bool
    middleware: "list[Layer] | None"


@st.composite
def operations(draw: Draw, world: World) -> Operation:
    """Draw a query or a mutation for the world's schema.

    One in four need not be valid: fields that cannot be merged have one response name, fields and
    fragments are unknown, fragments contain themselves, and arguments are wrong or missing.
    """
    writer = _Writer(draw, world, is_valid=not _chance(draw, 25))
    kind = _pick(draw, "query", "query", "mutation")
    body = writer.selection_set(kind.capitalize(), _pick(draw, 4, 4, 3, 6))
    declared = ", ".join(writer.declarations.values())
    text = f"{kind} Main{f'({declared})' if declared else ''} {body}"
    parts = [text, *writer.fragments.values()]
    if _chance(draw, 25):
        parts.insert(_pick(draw, 0, 1), "query Other { __typename }")
        name = "Main"
    else:
        name = _pick(draw, None, "Main")
    other = {name: value for name in writer.declarations for value in writer.draw_value(name)}
    layers = [Layer(_pick(draw, *LAYERS), number) for number in range(_pick(draw, 1, 2, 0))]
    middleware = layers if _chance(draw, 30) else None
    return Operation("\n".join(parts), name, writer.values, other, writer.is_valid, middleware)


class _Writer:
    """The writer of one operation.

    In a valid one, fields with one response name have the same arguments, so all selections can be
    merged.
    """

    def __init__(self, draw: Draw, world: World, *, is_valid: bool) -> None:
        self.draw = draw
        self.world = world
        self.is_valid = is_valid
        self.fragments: dict[str, str] = {}
        self._conditions: dict[str, str] = {}
        self.declarations: dict[str, str] = {}
        self.values: dict[str, Any] = {}
        self._arguments: dict[str, str] = {}
        self._types: dict[str, tuple[str, bool]] = {}

    def selection_set(self, type_name: str, depth: int) -> str:
        selections = [
            self._selection(type_name, depth) for _ in range(_pick(self.draw, 2, 3, 1, 4))
        ]
        return "{ " + " ".join(selections) + " }"

    def _selection(self, type_name: str, depth: int) -> str:
        if not depth or not _chance(self.draw, 30):
            return self._field(type_name, depth)
        if _chance(self.draw, 50):
            target = self._overlapping(type_name)
            condition = "" if _chance(self.draw, 30) else f"on {target}"
            body = self.selection_set(target if condition else type_name, depth - 1)
            return f"... {condition} {self._directives()} {body}"
        if not self.is_valid and _chance(self.draw, 10):
            return "...Unknown"
        return f"...{self._fragment(type_name, depth)} {self._directives()}"

    def _field(self, type_name: str, depth: int) -> str:
        fields = self.world.types[type_name].fields
        usable = [
            name for name, f in fields.items() if depth or f.named_type not in self.world.types
        ]
        if not usable or _chance(self.draw, 10):
            return f"__typename {self._directives()}"
        if not self.is_valid and _chance(self.draw, 5):
            return "unknown { unknown }"
        name = _pick(self.draw, *usable)
        spec = fields[name]
        response_name = _pick(self.draw, "", "", "x_", "y_") + name
        if not self.is_valid and _chance(self.draw, 30):
            response_name = _pick(self.draw, "a", "b")
        alias = "" if response_name == name else f"{response_name}: "
        if not self.is_valid or response_name not in self._arguments:
            self._arguments[response_name] = self._write_arguments(spec)
        body = ""
        if spec.named_type in self.world.types:
            body = self.selection_set(spec.named_type, depth - 1)
        return f"{alias}{name}{self._arguments[response_name]} {self._directives()} {body}"

    def _overlapping(self, type_name: str) -> str:
        """Draw a type that shares a possible object with this one, or this type itself."""
        objects = set(self.world.objects_of(type_name))
        candidates = [
            name for name in self.world.types if objects & set(self.world.objects_of(name))
        ]
        return str(_pick(self.draw, *(candidates or [type_name])))

    def _fragment(self, type_name: str, depth: int) -> str:
        objects = set(self.world.objects_of(type_name))
        known = [
            name
            for name, condition in self._conditions.items()
            if objects & set(self.world.objects_of(condition))
        ]
        if known and _chance(self.draw, 50):
            return str(_pick(self.draw, *known))
        target = self._overlapping(type_name)
        name = f"F{len(self._conditions)}"
        if not self.is_valid:  # the fragment may contain itself
            self._conditions[name] = target
        body = self.selection_set(target, depth - 1)
        if name in self.fragments:
            name = f"F{len(self._conditions)}"
        self.fragments[name] = f"fragment {name} on {target} {body}"
        self._conditions[name] = target
        return name

    def _directives(self) -> str:
        """Draw none of the directives in most cases, else one of them or both."""
        if not _chance(self.draw, 15):
            return ""
        if not self.is_valid and _chance(self.draw, 2):
            return _pick(self.draw, "@skip", "@include(if: null)", "@skip(if: $unknown)")
        names = _pick(self.draw, ("skip",), ("include",), ("skip", "include"))
        return " ".join(f"@{name}(if: {self._input('Boolean!')})" for name in names)

    def _write_arguments(self, spec: FieldSpec) -> str:
        written = []
        for argument in spec.arguments:
            name, _, rest = argument.partition(": ")
            type_, _, default = rest.partition(" = ")
            required = self.is_valid and type_.endswith("!") and not default
            if not self.is_valid and _chance(self.draw, 10):
                written.append(f"{name}: {_pick(self.draw, *WRONG)}")
            elif required or _chance(self.draw, 60):
                written.append(f"{name}: {self._input(type_)}")
        return f"({', '.join(written)})" if written else ""

    def _input(self, type_: str) -> str:
        """Draw a literal or a variable; declare the variable, and draw a value for it."""
        if _chance(self.draw, 50):
            return str(_pick(self.draw, *LITERALS[type_]))
        name = f"v{len(self.declarations)}"
        declaration = f"${name}: {type_}"
        can_be_left_out = not type_.endswith("!")
        if _chance(self.draw, 25):
            literals = [text for text in LITERALS[type_] if text != "null"]
            declaration += f" = {_pick(self.draw, *literals)}"
            can_be_left_out = True
        self.declarations[name] = declaration
        self._types[name] = type_, can_be_left_out
        self.values.update((name, value) for value in self.draw_value(name))
        return f"${name}"

    def draw_value(self, name: str) -> list[Any]:
        """Draw a value for the variable, or none where it can be left out."""
        type_, can_be_left_out = self._types[name]
        if type_ in UNCOERCIBLE and _chance(self.draw, 2):
            return [self.draw(_inputs(type_, coercible=False))]
        if can_be_left_out and _chance(self.draw, 40):
            return []
        return [self.draw(_inputs(type_))]


@cache
def _inputs(type_: str, *, coercible: bool = True) -> st.SearchStrategy[Any]:
    return st.sampled_from((VARIABLES if coercible else UNCOERCIBLE)[type_])
