"""Arguments from their sources are those of graphql-core, or there are none."""

import itertools
from enum import Enum

import pytest
from graphql import (
    GraphQLArgument,
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLField,
    GraphQLFloat,
    GraphQLID,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLScalarType,
    GraphQLString,
    Undefined,
    get_argument_values,
    parse,
)
from hypothesis import assume, given
from hypothesis import strategies as st

from pcf.execution.arguments import IMMUTABLE, argument_sources, from_sources, shared_arguments


class Colour(Enum):
    RED = "red"
    GREEN = "green"


class OwnEnumType(GraphQLEnumType):
    """An enum that reads its literals with code of its own."""

    def parse_literal(self, value_node, _variables=None):
        return f"{value_node.value} {next(ticks)}"


ticks = itertools.count()
TICK = GraphQLScalarType(
    "Tick", parse_literal=lambda _node, _variables=None: next(ticks), parse_value=next
)
COLOUR = GraphQLEnumType("Colour", Colour, names_as_values=None)
LISTS = GraphQLEnumType("Lists", {"RED": [1], "GREEN": {"a": 1}})
OWN_ENUM = OwnEnumType("Own", {"RED": 1})
FILTER = GraphQLInputObjectType(
    "Filter", {"a": GraphQLInputField(GraphQLInt, out_name="b"), "c": GraphQLInputField(TICK)}
)
FIRST = GraphQLInputObjectType(
    "First", {"a": GraphQLInputField(GraphQLInt)}, out_type=lambda values: values.get("a")
)
LEAVES = [GraphQLInt, GraphQLFloat, GraphQLString, GraphQLBoolean, GraphQLID, COLOUR]
OTHERS = [TICK, LISTS, OWN_ENUM, FILTER, FIRST]
DEFAULTS = [Undefined, None, 1, True, 1.5, "x", Colour.RED, [1], [], {"a": 1}, object()]
LITERALS = ["null", "0", "-3", "2147483648", "1.5", '"x"', '"5"', "true", "RED", "BLUE", "[]",
            "[1]", '["x", null]', "[[RED]]", "[$v]", "{}", "{ a: 1 }", "{ a: $v }", "{ a: [$w] }",
            "$v", "$w", "$v", "$w"]  # fmt: skip
VALUES = [Undefined, None, 0, True, 2.5, "text", Colour.GREEN, [1], {"a": 1}, object(), (1,)]


def types():
    """Draw input types: most are leaves, with up to two lists around them."""
    named = st.sampled_from(LEAVES * 3 + OTHERS)
    nullable = named | named.flatmap(listed)
    return nullable | nullable.map(GraphQLNonNull)


def listed(type_):
    """Draw lists of a type."""
    items = st.sampled_from([type_, GraphQLNonNull(type_)])
    once = items.map(GraphQLList)
    return once | once.map(GraphQLList)


definitions = st.dictionaries(
    st.sampled_from("abcd"),
    st.builds(
        GraphQLArgument,
        types(),
        st.sampled_from(DEFAULTS),
        out_name=st.sampled_from([None, None, None, "a", "other"]),
    ),
    max_size=4,
).map(lambda args: GraphQLField(GraphQLString, args))
arguments_of_node = st.lists(
    st.tuples(st.sampled_from("abcde"), st.sampled_from(LITERALS)), max_size=5
)
variable_values = st.dictionaries(st.sampled_from("vw"), st.sampled_from(VALUES))


def node_of(arguments):
    """Return the node of a field with these arguments, pairs of a name and a literal."""
    text = ", ".join(f"{name}: {literal}" for name, literal in arguments)
    (operation,) = parse(f"{{ f({text}) }}" if text else "{ f }").definitions
    (node,) = operation.selection_set.selections
    return node


def shown(arguments):
    """Return what two equal arguments share: 1, 1.0 and True differ, and so do two orders."""
    return [(name, type(value), value) for name, value in arguments.items()]


@given(definitions, arguments_of_node, variable_values)
def test_arguments_from_sources_are_those_of_graphql_core(definition, arguments, variables):
    node = node_of(arguments)
    sources = argument_sources(definition, node)
    for _ in range(2):
        found = from_sources(sources, variables)
        if found is not None:
            assert shown(found) == shown(get_argument_values(definition, node, variables))
            assert shown(found) == shown(shared_arguments(definition, node, variables))
            assert all(isinstance(value, IMMUTABLE) for value in found.values())
            assert found is not from_sources(sources, variables)


@given(definitions, arguments_of_node, variable_values)
def test_constants_that_nothing_changes_are_those_of_graphql_core(definition, arguments, variables):
    node = node_of(arguments)
    found = from_sources(argument_sources(definition, node, shares_all=True), variables)
    if found is not None:
        assert shown(found) == shown(get_argument_values(definition, node, variables))


@pytest.mark.parametrize(
    ("type_", "literal", "expected"),
    [
        (GraphQLList(GraphQLInt), "[1, null]", [1, None]),
        (GraphQLList(COLOUR), "RED", [Colour.RED]),
        (FILTER, "{ a: 1 }", {"b": 1}),
        (GraphQLList(FILTER), "[{ a: 1 }, null]", [{"b": 1}, None]),
        (FILTER, "null", None),
        (FILTER, "{ a: $v }", {"b": 1}),
        (GraphQLList(GraphQLList(GraphQLInt)), "[[$v], 2]", [[1], [2]]),
        (FIRST, "{ a: $v }", 1),
        # each call needs its own
        (FILTER, "{ c: 1 }", Undefined),
        (GraphQLList(FILTER), "[{ a: 1 }, { c: 1 }]", Undefined),
        (GraphQLList(TICK), "[1]", Undefined),
        (FIRST, "{ a: 1 }", Undefined),
        (GraphQLNonNull(FILTER), "{ a: [$v] }", Undefined),
        (FILTER, "{ d: 1 }", Undefined),
        (FILTER, "1", Undefined),
    ],
)
def test_constants_and_literals_that_nothing_changes(type_, literal, expected):
    definition = GraphQLField(GraphQLString, {"a": GraphQLArgument(type_)})
    sources = argument_sources(definition, node_of([("a", literal)]), shares_all=True)
    found = from_sources(sources, {"v": 1})
    assert found == (None if expected is Undefined else {"a": expected})


@given(definitions, arguments_of_node, variable_values)
def test_there_are_sources_wherever_all_values_may_be_shared(definition, arguments, variables):
    """Without them each call would coerce its arguments, which takes longer."""
    node = node_of(arguments)
    declared = definition.args
    given_names = {name for name, _ in arguments}
    coerced = [argument.type for name, argument in declared.items() if name not in given_names]
    missing = any(
        name in declared and literal[0] == "$" and literal[1:] not in variables
        for name, literal in arguments
    )
    names = [argument.out_name or name for name, argument in declared.items()]
    assume(not missing and not {FILTER, FIRST} & set(coerced) and len(set(names)) == len(names))
    shared = shared_arguments(definition, node, variables)
    found = from_sources(argument_sources(definition, node), variables)
    assert (found is None) == (shared is None)


INT_OF_ONE = GraphQLArgument(GraphQLInt, out_name="one")


@pytest.mark.parametrize(
    ("argument", "literal", "variables", "expected"),
    [
        (INT_OF_ONE, "1", {}, {"one": 1}),
        (INT_OF_ONE, "null", {}, {"one": None}),
        (INT_OF_ONE, "$v", {"v": 2}, {"one": 2}),
        (INT_OF_ONE, "$v", {"v": None}, {"one": None}),
        (INT_OF_ONE, None, {}, {}),
        (GraphQLArgument(GraphQLInt, 8), None, {}, {"a": 8}),
        (GraphQLArgument(GraphQLInt, None), None, {}, {"a": None}),
        (GraphQLArgument(GraphQLNonNull(GraphQLInt), 8), None, {}, {"a": 8}),
        (GraphQLArgument(GraphQLNonNull(GraphQLInt), 8), "$v", {"v": 2}, {"a": 2}),
        (GraphQLArgument(COLOUR), "RED", {}, {"a": Colour.RED}),
        (GraphQLArgument(GraphQLList(GraphQLInt)), "null", {}, {"a": None}),
        (GraphQLArgument(TICK), "$v", {"v": 2}, {"a": 2}),  # it was coerced once
        # each call needs its own
        (GraphQLArgument(GraphQLInt, 8), "$v", {}, None),
        (INT_OF_ONE, "$v", {}, None),
        (GraphQLArgument(GraphQLNonNull(GraphQLInt)), "$v", {"v": None}, None),
        (GraphQLArgument(GraphQLNonNull(GraphQLInt)), None, {}, None),
        (GraphQLArgument(GraphQLNonNull(GraphQLInt)), "null", {}, None),
        (INT_OF_ONE, '"x"', {}, None),
        (INT_OF_ONE, "$v", {"v": [1]}, None),
        (GraphQLArgument(TICK), "1", {}, None),
        (GraphQLArgument(OWN_ENUM), "RED", {}, None),
        (GraphQLArgument(LISTS), "RED", {}, None),
        (GraphQLArgument(GraphQLList(GraphQLInt)), "1", {}, None),
        (GraphQLArgument(FIRST), "{ a: 1 }", {}, None),
        (GraphQLArgument(FILTER, "no object"), None, {}, None),
        (GraphQLArgument(FILTER, None), None, {}, {"a": None}),
    ],
)
def test_sources_are_constants_and_variables(argument, literal, variables, expected):
    definition = GraphQLField(GraphQLString, {"a": argument})
    node = node_of([("a", literal)] if literal else [])
    found = from_sources(argument_sources(definition, node), variables)
    assert (found if found is None else shown(found)) == (
        expected if expected is None else shown(expected)
    )
