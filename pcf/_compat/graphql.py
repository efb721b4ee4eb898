"""graphql-core 3.2: the functions and the methods that its executor consists of.

Works with graphql-core >= 3.2.14, < 3.3. Undocumented, and used here:

* the functions that this module exports;
* methods of ``ExecutionContext`` that PCF overrides: ``execute_operation``,
  ``execute_fields_serially``, ``execute_fields``, ``execute_field``, ``complete_value``,
  ``complete_list_value``, ``complete_abstract_value``, ``complete_object_value``;
* methods of ``ExecutionContext`` that PCF calls: ``build``, ``build_resolve_info``,
  ``build_response``, ``collect_subfields``, ``ensure_valid_runtime_type``, ``handle_field_error``,
  and ``get_field_resolver`` of its ``middleware_manager``;
* attributes of ``ExecutionContext``: those that its constructor takes.

``tests/compat/test_graphql.py`` holds the signatures of all of them.
"""

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

from graphql import (
    DocumentNode,
    ExecutionContext,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    Token,
    default_field_resolver,
    default_type_resolver,
    print_ast,
)
from graphql.execution.collect_fields import collect_fields, collect_sub_fields
from graphql.execution.execute import (
    CollectedErrors,
    assert_valid_execution_arguments,
    get_field_def,
    get_typename,
    invalid_return_type_error,
)
from graphql.pyutils import inspect, is_iterable

__all__ = [
    "ExecutionContext",
    "assert_valid_execution_arguments",
    "collect_fields",
    "collect_sub_fields",
    "estimated_bytes",
    "execution_context",
    "get_field_def",
    "get_typename",
    "inspect",
    "invalid_return_type_error",
    "is_iterable",
    "is_nested_too_deeply",
    "unlink_tokens",
]


Context = TypeVar("Context", bound=ExecutionContext)


class Parsed(Protocol):
    """An operation of a schema, with the fragments of its document by their names."""

    @property
    def schema(self) -> GraphQLSchema:
        """The schema."""

    @property
    def operation(self) -> OperationDefinitionNode:
        """The operation."""

    @property
    def fragments(self) -> Mapping[str, FragmentDefinitionNode]:
        """The fragments."""


def execution_context(
    context_class: type[Context], parsed: Parsed, variables: dict[str, Any], context_value: Any
) -> Context:
    """Return the context that ``build`` makes, without its search and its coercion.

    ``variables`` are coerced. The root value is None, and there is no middleware.
    """
    return context_class(
        parsed.schema,
        dict(parsed.fragments),  # resolvers see it
        None,
        context_value,
        parsed.operation,
        variables,
        default_field_resolver,
        default_type_resolver,
        default_field_resolver,
        CollectedErrors(),
        None,
        None,
    )


_BYTES_OF_TOKEN = 550  # with its share of the nodes and their locations, measured with Python 3.11


def estimated_bytes(document: DocumentNode) -> int:
    """Return the memory that a document takes, by estimate."""
    if document.loc is None:
        return _BYTES_OF_TOKEN * len(print_ast(document)) // 4
    count = 0
    token: Token | None = document.loc.start_token
    while token is not None:
        count += 1
        token = token.next
    return _BYTES_OF_TOKEN * count + len(document.loc.source.body)


def unlink_tokens(document: DocumentNode) -> None:
    """Make reference counting free a parsed document, which the garbage collector would free late.

    The tokens of a document refer to each other in both directions. Only the lexer goes back.
    """
    token: Token | None = document.loc.start_token if document.loc is not None else None
    while token is not None:
        token.prev = None
        token = token.next


def is_nested_too_deeply(error: GraphQLError) -> bool:
    """Return whether the parser gave up a text because the text exhausts Python's stack.

    graphql-core turns the RecursionError into a GraphQLSyntaxError. Only its message tells.
    """
    return "too deeply" in error.message
