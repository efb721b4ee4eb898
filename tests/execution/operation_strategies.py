"""Hypothesis strategies for operations on a world (``strategies``).

``operations(world)`` draws documents with variables, and middleware. The documents cover fragments
(named and inline, nested, reused), aliases, merged fields, ``@skip`` and ``@include``,
``__typename``, arguments with literals, variables and defaults, input objects, OneOf included,
several operations in one document, and variables that cannot be coerced. One in four is not valid.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

from hypothesis import strategies as st

from tests.execution.outcomes import LAYERS, Layer
from tests.execution.strategies import Draw, chance, pick
from tests.execution.world import FieldSpec, World

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
    writer = _Writer(draw, world, is_valid=not chance(draw, 25))
    kind = pick(draw, "query", "query", "mutation")
    body = writer.selection_set(kind.capitalize(), pick(draw, 4, 4, 3, 6))
    declared = ", ".join(writer.declarations.values())
    text = f"{kind} Main{f'({declared})' if declared else ''} {body}"
    parts = [text, *writer.fragments.values()]
    if chance(draw, 25):
        parts.insert(pick(draw, 0, 1), "query Other { __typename }")
        name = "Main"
    else:
        name = pick(draw, None, "Main")
    other = {name: value for name in writer.declarations for value in writer.draw_value(name)}
    layers = [Layer(pick(draw, *LAYERS), number) for number in range(pick(draw, 1, 2, 0))]
    middleware = layers if chance(draw, 30) else None
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
        selections = [self._selection(type_name, depth) for _ in range(pick(self.draw, 2, 3, 1, 4))]
        return "{ " + " ".join(selections) + " }"

    def _selection(self, type_name: str, depth: int) -> str:
        if not depth or not chance(self.draw, 30):
            return self._field(type_name, depth)
        if chance(self.draw, 50):
            target = self._overlapping(type_name)
            condition = "" if chance(self.draw, 30) else f"on {target}"
            body = self.selection_set(target if condition else type_name, depth - 1)
            return f"... {condition} {self._directives()} {body}"
        if not self.is_valid and chance(self.draw, 10):
            return "...Unknown"
        return f"...{self._fragment(type_name, depth)} {self._directives()}"

    def _field(self, type_name: str, depth: int) -> str:
        fields = self.world.types[type_name].fields
        usable = [
            name for name, f in fields.items() if depth or f.named_type not in self.world.types
        ]
        if not usable or chance(self.draw, 10):
            return f"__typename {self._directives()}"
        if not self.is_valid and chance(self.draw, 5):
            return "unknown { unknown }"
        name = pick(self.draw, *usable)
        spec = fields[name]
        response_name = pick(self.draw, "", "", "x_", "y_") + name
        if not self.is_valid and chance(self.draw, 30):
            response_name = pick(self.draw, "a", "b")
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
        return str(pick(self.draw, *(candidates or [type_name])))

    def _fragment(self, type_name: str, depth: int) -> str:
        objects = set(self.world.objects_of(type_name))
        known = [
            name
            for name, condition in self._conditions.items()
            if objects & set(self.world.objects_of(condition))
        ]
        if known and chance(self.draw, 50):
            return str(pick(self.draw, *known))
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
        if not chance(self.draw, 15):
            return ""
        if not self.is_valid and chance(self.draw, 2):
            return pick(self.draw, "@skip", "@include(if: null)", "@skip(if: $unknown)")
        names = pick(self.draw, ("skip",), ("include",), ("skip", "include"))
        return " ".join(f"@{name}(if: {self._input('Boolean!')})" for name in names)

    def _write_arguments(self, spec: FieldSpec) -> str:
        written = []
        for argument in spec.arguments:
            name, _, rest = argument.partition(": ")
            type_, _, default = rest.partition(" = ")
            required = self.is_valid and type_.endswith("!") and not default
            if not self.is_valid and chance(self.draw, 10):
                written.append(f"{name}: {pick(self.draw, *WRONG)}")
            elif required or chance(self.draw, 60):
                written.append(f"{name}: {self._input(type_)}")
        return f"({', '.join(written)})" if written else ""

    def _input(self, type_: str) -> str:
        """Draw a literal or a variable; declare the variable, and draw a value for it."""
        if chance(self.draw, 50):
            return str(pick(self.draw, *LITERALS[type_]))
        name = f"v{len(self.declarations)}"
        declaration = f"${name}: {type_}"
        can_be_left_out = not type_.endswith("!")
        if chance(self.draw, 25):
            literals = [text for text in LITERALS[type_] if text != "null"]
            declaration += f" = {pick(self.draw, *literals)}"
            can_be_left_out = True
        self.declarations[name] = declaration
        self._types[name] = type_, can_be_left_out
        self.values.update((name, value) for value in self.draw_value(name))
        return f"${name}"

    def draw_value(self, name: str) -> list[Any]:
        """Draw a value for the variable, or none where it can be left out."""
        type_, can_be_left_out = self._types[name]
        if type_ in UNCOERCIBLE and chance(self.draw, 2):
            return [self.draw(_inputs(type_, coercible=False))]
        if can_be_left_out and chance(self.draw, 40):
            return []
        return [self.draw(_inputs(type_))]


@cache
def _inputs(type_: str, *, coercible: bool = True) -> st.SearchStrategy[Any]:
    return st.sampled_from((VARIABLES if coercible else UNCOERCIBLE)[type_])
