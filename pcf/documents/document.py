"""Documents that are valid: parsed, measured and validated once, and kept by their text."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import perf_counter

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    parse,
)

from pcf._compat.graphql import estimated_bytes, is_nested_too_deeply, unlink_tokens
from pcf._compat.graphql_validation import validate
from pcf.conf.sections import DocumentSettings
from pcf.documents.cost import CostModel, check_cost, cost_model
from pcf.documents.limits import Measure, check_text, measure, schema_names
from pcf.documents.selection import select_root_fields
from pcf.errors import ClientError
from pcf.execution.cache_hints import NO_HINT, CacheHint, operation_hint
from pcf.lru import LRUCache
from pcf.observability import metrics

MAX_BYTES = 20 * 2**20  # of the documents of a process, by estimate
MAX_ERRORS = 5  # validation stops after this number, since each error takes time to word


class InvalidDocument(Exception):
    """The document cannot be executed. ``errors`` holds the reasons."""

    def __init__(self, errors: list[GraphQLError]) -> None:
        super().__init__(errors)
        self.errors = errors


class UnknownOperation(ClientError):
    """The operation name of a request selects no operation (specification section 6.1)."""

    code = "OPERATION_RESOLUTION_FAILURE"


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a document.

    ``type`` is ``query``, ``mutation`` or ``subscription``. ``variables`` holds the names of the
    variables that the operation declares.
    """

    name: str | None
    type: str
    measure: Measure
    variables: frozenset[str]
    cost: CostModel = field(repr=False)
    hint: CacheHint = NO_HINT


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Document:
    """A valid document: immutable, and shared by all threads."""

    text: str = field(repr=False)
    digest: bytes  # SHA-256 of the text
    node: DocumentNode = field(repr=False)
    operations: Mapping[str | None, Operation]

    @property
    def bytes(self) -> int:
        """The memory that the document takes, by estimate."""
        return estimated_bytes(self.node)

    def operation(self, name: str | None) -> Operation:
        """Return the operation with this ``operationName`` (specification section 6.1).

        Raises UnknownOperation when no operation has this name, and when the request has no name
        and the document several operations.
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


def prepare(schema: GraphQLSchema, text: str, limits: DocumentSettings) -> Document:
    """Parse, measure and validate ``text``, and return the document.

    The cheap checks come first: the function counts tokens before it parses, and computes
    selections and cost before it validates. Raises InvalidDocument for a text that does not parse,
    that exceeds a limit, or that is not valid.
    """
    try:
        check_text(text, limits, schema_names(schema))
        node = _parse(text)
        measures = measure(node, limits)
        costs = {_name(o): _cost(schema, node, o, limits) for o, _ in measures}
    except ClientError as error:  # a limit, or a cycle of fragments
        located = GraphQLError(str(error), original_error=error, extensions=error.extensions)
        raise InvalidDocument([located]) from error
    _validate(schema, node)
    return Document(
        text=text,
        digest=_digest(text),
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


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _parse(text: str) -> DocumentNode:
    try:
        node = parse(text)
    except GraphQLError as error:
        code = "DOCUMENT_TOO_LARGE" if is_nested_too_deeply(error) else "GRAPHQL_PARSE_FAILED"
        error.extensions = error.extensions or {"code": code}
        raise InvalidDocument([error]) from error
    unlink_tokens(node)
    return node


def _cost(
    schema: GraphQLSchema,
    node: DocumentNode,
    operation: OperationDefinitionNode,
    limits: DocumentSettings,
) -> CostModel:
    """Return the cost model of ``operation``.

    Raises LimitExceeded when the selections exceed a limit, or when the cost exceeds the limit with
    any variables.
    """
    model = cost_model(select_root_fields(schema, node, operation, limits), operation, limits)
    if model.is_constant:
        check_cost(model.cost({}), limits)
    return model


def _validate(schema: GraphQLSchema, node: DocumentNode) -> None:
    errors = validate(schema, node, MAX_ERRORS)
    if errors:
        for problem in errors:
            problem.extensions = problem.extensions or {"code": "GRAPHQL_VALIDATION_FAILED"}
        raise InvalidDocument(errors)


def _variables(definition: OperationDefinitionNode) -> frozenset[str]:
    return frozenset(v.variable.name.value for v in definition.variable_definitions or ())


def _name(definition: OperationDefinitionNode) -> str | None:
    return definition.name.value if definition.name else None


class DocumentStore:
    """The valid documents of a process, by the SHA-256 of their texts. Thread-safe.

    The store keeps the documents that were used last: ``limits.remembered`` of them, and MAX_BYTES
    by estimate, at the most. It does not keep invalid documents, so a client that sends many of
    them cannot evict the valid ones.
    """

    def __init__(self, schema: GraphQLSchema, limits: DocumentSettings) -> None:
        self._schema = schema
        self._limits = limits
        share = MAX_BYTES // max(2, limits.remembered)  # what each document weighs at least
        self._documents: LRUCache[str, Document] = LRUCache(
            MAX_BYTES, lambda document: max(share, document.bytes)
        )
        self._known = metrics.documents.labels("known")

    def get(self, text: str) -> Document:
        """Return the document of ``text``; prepare it when the store does not hold it.

        Raises InvalidDocument. Two threads that miss the same text may both prepare it.
        """
        document = self.known(text)
        if document is not None:
            self._known.inc()
            return document
        started = perf_counter()
        try:
            document = prepare(self._schema, text, self._limits)
        except InvalidDocument:
            metrics.documents.labels("refused").inc()
            raise
        finally:
            metrics.document_duration.observe(perf_counter() - started)
        metrics.documents.labels("prepared").inc()
        self._documents.set(document.digest.hex(), document)
        return document

    def known(self, text: str) -> Document | None:
        """Return the document of ``text``, or None when the store lacks it."""
        return self._documents.get(_digest(text).hex())

    def by_digest(self, digest: str) -> Document | None:
        """Return the document whose text has this SHA-256 (hexadecimal), or None."""
        return self._documents.get(digest)

    def __len__(self) -> int:
        return len(self._documents)
