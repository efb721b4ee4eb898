"""graphql-core 3.2: ``validate`` without work for the garbage collector.

graphql-core's function leaves some 500 objects a document that refer to each other, so only the
collector frees them. The event loop stands still meanwhile, for tens of milliseconds. The function
here gives the same errors by the same rules. Reference counting frees what it makes, but for two
small visitors of graphql-core that look for the variables of a definition.

Works with graphql-core >= 3.2.14, < 3.3. Undocumented, and used here, from
``graphql.validation.validate``: ``ValidationAbortedError``, ``FragmentNestingVisitor`` and
``query_document_keys_to_validate``; ``EnterLeaveVisitor``, and ``enter_leave_map`` of a Visitor.
``tests/compat/test_graphql_validation.py`` compares both functions, and tells when graphql-core's
changes.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from graphql import (
    BREAK,
    SKIP,
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    TypeInfo,
    ValidationContext,
    Visitor,
    assert_valid_schema,
    specified_rules,
    visit,
)
from graphql.language.visitor import EnterLeaveVisitor
from graphql.validation.validate import (
    FragmentNestingVisitor,
    ValidationAbortedError,
    query_document_keys_to_validate,
)

__all__ = ["validate"]

_MAX_KINDS = 200  # of nodes, with and without the rule for fragments

_Handler = tuple[int, Callable[..., Any] | None]
"""The number of a rule, and its method for the nodes of one kind."""


def validate(schema: GraphQLSchema, document: DocumentNode, max_errors: int) -> list[GraphQLError]:
    """Return the errors of a parsed document by all rules of the specification (section 5).

    After ``max_errors`` the validation ends, and one error more says so.
    """
    assert_valid_schema(schema)
    errors: list[GraphQLError] = []

    def on_error(error: GraphQLError) -> None:
        if len(errors) >= max_errors:
            raise ValidationAbortedError(
                "Too many validation errors, error limit reached. Validation aborted."
            )
        errors.append(error)

    types = TypeInfo(schema)
    context = _Context(schema, document, types, on_error)
    rules: list[Visitor] = [rule(context) for rule in specified_rules]
    fragments = {
        definition.name.value: definition
        for definition in document.definitions
        if isinstance(definition, FragmentDefinitionNode)
    }
    if fragments:
        rules.insert(0, FragmentNestingVisitor(fragments))
    try:
        visit(document, _AllRules(types, rules), query_document_keys_to_validate)
    except ValidationAbortedError as error:
        error.__context__ = None  # its frames would stay in memory
        errors.append(error.with_traceback(None))
    except RecursionError:
        errors.append(ValidationAbortedError("Validation aborted."))
    return errors


class _Context(ValidationContext):
    """A context that looks for no variables in a text without a dollar sign.

    The search takes visitors that refer to each other.
    """

    def get_variable_usages(self, node: Any) -> list[Any]:
        """Return the variables in a definition, with their types."""
        location = self.document.loc
        if location is not None and "$" not in location.source.body:
            return []
        return super().get_variable_usages(node)


class _AllRules(Visitor):
    """A visitor that calls all rules, each for the nodes that it has methods for.

    It does the work of graphql-core's TypeInfoVisitor and ParallelVisitor. Rules change no nodes.
    """

    def __init__(self, types: TypeInfo, rules: Sequence[Visitor]) -> None:
        super().__init__()
        self._types = types
        self._rules = rules
        # the node whose children a rule skips, or BREAK
        self._skipped: list[Any] = [None] * len(rules)

    def get_enter_leave_for_kind(self, kind: str) -> EnterLeaveVisitor:
        """Return the functions for the nodes of a kind. They do not refer to this object."""
        found = self.enter_leave_map.get(kind)
        if found is None:
            enters: list[_Handler] = []
            leaves: list[_Handler] = []
            for number, enter, leave in _methods_of(tuple(map(type, self._rules)), kind):
                rule = self._rules[number]
                if enter is not None:
                    enters.append((number, getattr(rule, enter)))
                leaves.append((number, None if leave is None else getattr(rule, leave)))
            found = self.enter_leave_map[kind] = EnterLeaveVisitor(
                _enter_all(self._types, self._skipped, enters),
                _leave_all(self._types, self._skipped, leaves),
            )
        return found


@lru_cache(_MAX_KINDS)
def _methods_of(rules: Any, kind: str) -> tuple[tuple[int, str | None, str | None], ...]:
    """Return the rules that have methods for the nodes of a kind: numbers, names of the methods."""
    found = []
    for number, rule in enumerate(rules):
        enter, leave = (
            next((name for name in (f"{event}_{kind}", event) if getattr(rule, name, None)), None)
            for event in ("enter", "leave")
        )
        if enter is not None or leave is not None:
            found.append((number, enter, leave))
    return tuple(found)


def _enter_all(types: TypeInfo, skipped: list[Any], handlers: list[_Handler]) -> Any:
    def enter(node: Any, *place: Any) -> None:
        types.enter(node)
        for number, method in handlers:
            if skipped[number] is None:
                result = method(node, *place)  # type: ignore[misc]  # there is a method
                if result is SKIP or result is False:
                    skipped[number] = node
                elif result is BREAK or result is True:
                    skipped[number] = BREAK

    return enter


def _leave_all(types: TypeInfo, skipped: list[Any], handlers: list[_Handler]) -> Any:
    def leave(node: Any, *place: Any) -> None:
        for number, method in handlers:
            if skipped[number] is node:
                skipped[number] = None
            elif skipped[number] is None and method is not None:
                result = method(node, *place)
                if result is BREAK or result is True:
                    skipped[number] = BREAK
        types.leave(node)

    return leave
