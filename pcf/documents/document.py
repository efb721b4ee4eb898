"""Documents: GraphQL texts, parsed, measured and validated once, known by their hash."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    parse,
    specified_rules,
    validate,
)

from pcf.config import Documents
from pcf.documents.limits import Measure, measure
from pcf.errors import ClientError


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
    """One operation of a document: its type (``query``, ``mutation``, ...), measure, variables."""

    name: str | None
    type: str
    measure: Measure
    variables: frozenset[str] = frozenset()  # the names that it declares


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

    Raises InvalidDocument when it does not parse, exceeds a limit or is not valid.
    """
    try:
        node = parse(text, max_tokens=limits.max_tokens)
        measures = measure(node, limits)
    except GraphQLError as error:
        too_large = "more than" in error.message or "too deeply" in error.message
        code = "DOCUMENT_TOO_LARGE" if too_large else "GRAPHQL_PARSE_FAILED"
        error.extensions = error.extensions or {"code": code}
        raise InvalidDocument([error]) from error
    except ClientError as error:
        raise InvalidDocument([GraphQLError(str(error), extensions=error.extensions)]) from error
    except RecursionError as error:
        too_deep = GraphQLError(
            "The document is nested too deeply", extensions={"code": "DOCUMENT_TOO_LARGE"}
        )
        raise InvalidDocument([too_deep]) from error
    rules = [*specified_rules]
    if not limits.introspection:
        rules.append(NoSchemaIntrospectionCustomRule)
    errors = validate(schema, node, rules)
    if errors:
        for problem in errors:
            problem.extensions = problem.extensions or {"code": "GRAPHQL_VALIDATION_FAILED"}
        raise InvalidDocument(errors)
    return Document(
        text=text,
        digest=hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest(),
        node=node,
        operations={
            _name(definition): Operation(
                _name(definition), definition.operation.value, result, _variables(definition)
            )
            for definition, result in measures
        },
    )


def _variables(definition: OperationDefinitionNode) -> frozenset[str]:
    return frozenset(v.variable.name.value for v in definition.variable_definitions or ())


def _name(definition: OperationDefinitionNode) -> str | None:
    return definition.name.value if definition.name else None
