"""Documents: GraphQL texts, parsed, measured and validated once, known by their hash."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    parse,
    validate,
)

from pcf.config import Documents
from pcf.documents.cost import CostModel, check_cost, cost_model
from pcf.documents.limits import Measure, measure
from pcf.documents.scan import check_text, names_of
from pcf.documents.selection import select
from pcf.errors import ClientError
from pcf.execution.hints import NO_HINT, CacheHint, operation_hint

MAX_ERRORS = 5  # that validation looks for: each takes its time to be found and worded


class InvalidDocument(Exception):
    """A document that cannot be executed; ``errors`` say why."""

    def __init__(self, errors: list[GraphQLError]) -> None:
        super().__init__(errors)
        self.errors = errors


class UnknownOperation(ClientError):
    """The operation name of a request does not pick one operation (spec section 6.1)."""

    code = "OPERATION_RESOLUTION_FAILURE"


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a document: its type (``query``, ``mutation``, ...), measure, variables,
    what it costs, and how its response may be cached.
    """

    name: str | None
    type: str
    measure: Measure
    variables: frozenset[str]  # the names that it declares
    cost: CostModel = field(repr=False)
    hint: CacheHint = NO_HINT


@dataclass(frozen=True, slots=True)
class Document:
    """A valid document. Immutable, shared by all threads."""

    text: str = field(repr=False)
    digest: bytes  # SHA-256 of the text
    node: DocumentNode = field(repr=False)
    operations: Mapping[str | None, Operation]

    def operation(self, name: str | None) -> Operation:
        """The operation that a request with this ``operationName`` means (spec section 6.1).

        Raises UnknownOperation when there is none, or several and no name.
        """
        if name:
            if name not in self.operations:
                raise UnknownOperation(f"Unknown operation named '{name}'.")
            return self.operations[name]
        if len(self.operations) != 1:
            raise UnknownOperation(
                "Must provide operation name if query contains multiple operations."
            )
        return next(iter(self.operations.values()))


def prepare(schema: GraphQLSchema, text: str, limits: Documents) -> Document:
    """Parse, measure and validate ``text``, the cheap refusals first.

    The text is counted before it is parsed, what it selects and costs before it is validated.
    Raises InvalidDocument when it does not parse, exceeds a limit or is not valid.
    """
    try:
        check_text(text, limits, names_of(schema))
        node = _parse(text)
        measures = measure(node, limits)
        costs = {_name(o): _cost(schema, node, o, limits) for o, _ in measures}
    except ClientError as error:  # a limit, or a cycle of fragments
        refusal = GraphQLError(str(error), original_error=error, extensions=error.extensions)
        raise InvalidDocument([refusal]) from error
    _validate(schema, node)
    return Document(
        text=text,
        digest=hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest(),
        node=node,
        operations={
            _name(definition): Operation(
                _name(definition),
                definition.operation.value,
                result,
                _variables(definition),
                costs[_name(definition)],
                operation_hint(schema, node, definition),
            )
            for definition, result in measures
        },
    )


def _parse(text: str) -> DocumentNode:
    try:
        return parse(text)
    except GraphQLError as error:
        # graphql-core turns an exhausted stack into an error of its own, known by its message
        code = "DOCUMENT_TOO_LARGE" if "too deeply" in error.message else "GRAPHQL_PARSE_FAILED"
        error.extensions = error.extensions or {"code": code}
        raise InvalidDocument([error]) from error


def _cost(
    schema: GraphQLSchema, node: DocumentNode, operation: OperationDefinitionNode, limits: Documents
) -> CostModel:
    """What ``operation`` costs.

    Raises LimitExceeded when that is too much whatever the variables, or something else is.
    """
    model = cost_model(select(schema, node, operation, limits), operation, limits)
    if model.is_constant:
        check_cost(model.cost({}), limits)
    return model


def _validate(schema: GraphQLSchema, node: DocumentNode) -> None:
    errors = validate(schema, node, max_errors=MAX_ERRORS)
    if errors:
        for problem in errors:
            problem.extensions = problem.extensions or {"code": "GRAPHQL_VALIDATION_FAILED"}
        raise InvalidDocument(errors)


def _variables(definition: OperationDefinitionNode) -> frozenset[str]:
    return frozenset(v.variable.name.value for v in definition.variable_definitions or ())


def _name(definition: OperationDefinitionNode) -> str | None:
    return definition.name.value if definition.name else None
