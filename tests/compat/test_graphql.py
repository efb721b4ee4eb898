"""The internals of graphql-core 3.2 that ``pcf._compat.graphql`` exports or names."""

import gc
import inspect

import pytest
from graphql import (
    GraphQLError,
    GraphQLSyntaxError,
    TypeNameMetaFieldDef,
    build_schema,
    execute_sync,
    parse,
    version_info,
)
from graphql.execution import ExecutionContext, MiddlewareManager

from pcf._compat import graphql as compat

CHANGED = "graphql-core has changed: see pcf/_compat/graphql.py"

FUNCTIONS = {
    "assert_valid_execution_arguments": "schema document raw_variable_values",
    "collect_fields": (
        "schema fragments variable_values runtime_type selection_set on_selection_set"
    ),
    "collect_sub_fields": "schema fragments variable_values return_type field_nodes",
    "get_field_def": "schema parent_type field_node",
    "get_typename": "value",
    "inspect": "value",
    "invalid_return_type_error": "return_type result field_nodes",
}
OVERRIDDEN = {
    "execute_operation": "self operation root_value",
    "execute_fields_serially": "self parent_type source_value path fields",
    "execute_fields": "self parent_type source_value path fields",
    "execute_field": "self parent_type source field_nodes path",
    "complete_value": "self return_type field_nodes info path result",
    "complete_list_value": "self return_type field_nodes info path result",
    "complete_abstract_value": "self return_type field_nodes info path result",
    "complete_object_value": "self return_type field_nodes info path result",
}
CALLED = {
    "build_resolve_info": "self field_def field_nodes parent_type path",
    "collect_subfields": "self return_type field_nodes",
    "ensure_valid_runtime_type": "self runtime_type_name return_type field_nodes info result",
    "handle_field_error": "self error return_type path",
    "build_response": "data errors",
}
ATTRIBUTES = (
    "schema fragments root_value context_value operation variable_values field_resolver"
    " type_resolver collected_errors middleware_manager is_awaitable"
)


def parameters(function):
    return " ".join(inspect.signature(function).parameters)


def test_the_version_is_one_that_the_module_was_written_for():
    assert version_info[:2] == (3, 2), CHANGED


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_have_their_parameters(name):
    assert parameters(getattr(compat, name)) == FUNCTIONS[name], CHANGED


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_overridden_methods_have_their_parameters(name):
    assert parameters(getattr(ExecutionContext, name)) == OVERRIDDEN[name], CHANGED


@pytest.mark.parametrize("name", CALLED)
def test_called_methods_have_their_parameters(name):
    assert parameters(getattr(ExecutionContext, name)) == CALLED[name], CHANGED
    assert parameters(MiddlewareManager.get_field_resolver) == "self field_resolver", CHANGED


def test_execution_calls_the_overridden_methods():
    called = set()

    def noted(name):
        def method(self, *args):
            called.add(name)
            return getattr(ExecutionContext, name)(self, *args)

        return method

    members = {name: noted(name) for name in OVERRIDDEN}
    noting = type("Noting", (ExecutionContext,), members)
    schema = build_schema(
        "type Query { list: [Int] i: I } interface I { a: Int } type T implements I { a: Int }"
        " type Mutation { list: [Int] }"
    )
    root = {"list": [1], "i": {"__typename": "T", "a": 1}}
    for text in ("{ list i { a } }", "mutation { list }"):
        result = execute_sync(schema, parse(text), root, execution_context_class=noting)
        assert result.errors is None
    assert called == set(OVERRIDDEN), CHANGED


def test_a_context_has_its_attributes_and_collects_errors():
    schema = build_schema("type Query { a: Int }")
    context = ExecutionContext.build(schema, parse("{ a }"))
    assert isinstance(context, ExecutionContext)
    for name in ATTRIBUTES.split():
        assert hasattr(context, name), (CHANGED, name)
    error = GraphQLError("no")
    context.collected_errors.add(error, None)
    assert context.collected_errors.errors == [error], CHANGED
    assert context.build_response(None, [error]).errors == [error], CHANGED
    assert isinstance(ExecutionContext.build(schema, parse("{ a }"), operation_name="b"), list)


def test_fields_are_collected_by_name():
    schema = build_schema("type Query { a: Query b: Int }")
    document = parse("{ x: a { b } x: a { c: b } }")
    selections = document.definitions[0].selection_set
    collected = compat.collect_fields(schema, {}, {}, schema.query_type, selections)
    assert [len(nodes) for nodes in collected.values()] == [2], CHANGED
    below = compat.collect_sub_fields(schema, {}, {}, schema.query_type, collected["x"])
    assert list(below) == ["b", "c"], CHANGED
    (node,) = below["b"]
    assert compat.get_field_def(schema, schema.query_type, node).type is not None
    (typename,) = parse("{ __typename }").definitions[0].selection_set.selections
    found = compat.get_field_def(schema, schema.query_type, typename)
    assert found is TypeNameMetaFieldDef, CHANGED


def test_the_type_name_of_a_value_is_an_entry_or_an_attribute():
    class Named:
        def __init__(self):
            self.__typename = "A"

    assert compat.get_typename({"__typename": "A"}) == "A", CHANGED
    assert compat.get_typename(Named()) == "A", CHANGED
    assert compat.get_typename(1) is None, CHANGED


def test_text_and_mappings_are_not_iterable():
    values = ([1], (1,), iter([1]), "text", {"a": 1}, 1)
    assert [compat.is_iterable(value) for value in values] == [True] * 3 + [False] * 3, CHANGED


def test_a_text_that_exhausts_the_stack_is_told_by_its_message():
    with pytest.raises(GraphQLSyntaxError) as caught:
        parse("{ a(b: " + "[" * 20_000 + "]" * 20_000 + ") }")
    assert compat.is_nested_too_deeply(caught.value), CHANGED
    with pytest.raises(GraphQLSyntaxError) as caught:
        parse("{")
    assert not compat.is_nested_too_deeply(caught.value), CHANGED


def test_an_unlinked_document_is_free_without_the_garbage_collector():
    """The tokens are the only cycle of a document."""
    cycles = []
    for unlink in (False, True):
        document = parse("{ a { b } }")
        if unlink:
            compat.unlink_tokens(document)
        gc.collect()
        gc.disable()
        try:
            del document
            cycles.append(gc.collect() > 0)
        finally:
            gc.enable()
    assert cycles == [True, False], CHANGED
