"""Short queries: those that a server may answer on its event loop, in a greenlet."""

from collections.abc import Mapping
from typing import Any, NamedTuple
from weakref import ref

from pcf.conf import config
from pcf.documents.cost import Cost, check_cost
from pcf.documents.document import Document, Operation
from pcf.documents.persisted import PersistedDocuments
from pcf.errors import ClientError
from pcf.execution.bound_operation import BoundOperation, bind
from pcf.execution.plan_cache import Plan
from pcf.http.operation_runner import OperationRunner
from pcf.http.request import GraphQLRequest
from pcf.http.request_state import PreparedOperation, ReadOperation
from pcf.lru import LRUCache

MAX_RESPONSE_BYTES = 65_536  # of the responses of a short query
MAX_KNOWN = 1_000  # requests that are not read again
MAX_KNOWN_BYTES = 2_048  # of the document, the operation's name and the variables of each
_MAX_LONG = 1_000  # operations that are known to have longer responses
# The caches of documents and plans drop what nobody has asked for lately. One of so many known
# requests asks for its own.
_USES_PER_NOTE = 8


def cost_of(request: GraphQLRequest, operation: Operation) -> Cost:
    """Return the cost of the operation with the request's variables. Raises TooExpensive."""
    limits = config().documents
    cost = operation.cost.cost(request.variables)
    cost = cost.with_variables(request.variable_values, request.variable_bytes, limits)
    check_cost(cost, limits)
    return cost


class ShortQuery(NamedTuple):
    """A short query: its request, and its operation."""

    request: GraphQLRequest
    read: ReadOperation


class _KnownQuery(NamedTuple):
    """What a body asks for. It does not keep the document, nor the plan of the operation.

    ``fields`` are the fields of a GraphQLRequest that the body gives, without the document's text
    and without the variables that the operation does not declare.
    ``variables`` are coerced.
    """

    fields: dict[str, Any]
    document: "ref[Document]"
    plan: "ref[Plan]"
    cost: Cost
    variables: Mapping[str, Any]


class ShortQueries:
    """Tells which requests are short queries.

    A short query computes for a few milliseconds and waits for PostgreSQL and Redis alone: a thread
    has executed its operation before, it costs ``server.short_points`` at most, its responses had
    MAX_RESPONSE_BYTES at most, and it runs no code of the project that may wait for anything else.
    """

    def __init__(self, documents: PersistedDocuments, runner: OperationRunner) -> None:
        self._documents = documents
        self._runner = runner
        self._long: LRUCache[tuple[bytes, str | None], bool] = LRUCache(_MAX_LONG)
        self._known: LRUCache[bytes, _KnownQuery] = LRUCache(MAX_KNOWN)  # by ``raw_digest``
        self._uses = 0  # of ``_known``

    def known(self, raw_digest: bytes | None, headers: GraphQLRequest) -> ShortQuery | None:
        """Return the short query whose body was read before. Never waits.

        ``raw_digest`` is that of its state (``RequestState``). ``headers`` is a request with the
        fields that its headers give. Returns None for a body that ``read`` has to see.
        """
        known = None if raw_digest is None else self._known.get(raw_digest)
        if known is None:
            return None
        document, plan = known.document(), known.plan()
        if document is None or plan is None:
            return None
        text = "" if known.fields["document_id"] else document.text
        request = headers._replace(query=text, **known.fields)
        operation = document.operation(request.operation_name)
        self._uses += 1
        if self._uses % _USES_PER_NOTE == 0:
            self._documents.keep(document)
            self._runner.known_plan(document.node, operation.name, request.variables)
        bound = BoundOperation(plan, known.variables)
        read = ReadOperation(document, operation, known.cost, bound)
        return None if self._is_long(read) else ShortQuery(request, read)

    def read(self, request: GraphQLRequest, raw_digest: bytes | None = None) -> ShortQuery | None:
        """Return the short query; None for any other request. Never waits.

        ``known`` finds it from now on by its ``raw_digest``, where runs may share its variables.
        """
        document = self._documents.known(request.query, request.document_id)
        if document is None:
            return None
        try:
            operation = document.operation(request.operation_name)
            cost = cost_of(request, operation)
        except ClientError:
            return None
        if operation.type != "query" or cost.points > config().server.short_points:
            return None
        plan = self._runner.known_plan(document.node, operation.name, request.variables)
        if plan is None or not plan.waits_for_database_only:
            return None
        read = ReadOperation(document, operation, cost, bind(plan, request.variables))
        if self._is_long(read):
            return None
        name = request.operation_name or ""
        size = len(request.query) + len(name) + request.variable_bytes
        if raw_digest and read.bound is not None and size <= MAX_KNOWN_BYTES:
            self._known.set(raw_digest, _known_query(request, read, read.bound))
        return ShortQuery(request, read)

    def _is_long(self, read: ReadOperation) -> bool:
        return self._long.get((read.document.digest, read.operation.name)) is not None

    def note_size(self, prepared: PreparedOperation, size: int) -> None:
        """Note that a response of the operation had ``size`` bytes."""
        if size > MAX_RESPONSE_BYTES:
            self._long.set((prepared.document.digest, prepared.operation.name), True)


def _known_query(
    request: GraphQLRequest, read: ReadOperation, bound: BoundOperation
) -> _KnownQuery:
    given, declared = request.variables, read.operation.variables
    fields = {
        "document_id": request.document_id,
        # Any other value may take many times the memory of its JSON.
        "variables": {name: given[name] for name in given if name in declared},
        "operation_name": request.operation_name,
        "variable_values": request.variable_values,
        "variable_bytes": request.variable_bytes,
    }
    if request.wants_cost:
        fields |= {"wants_cost": True, "no_store": True}
    return _KnownQuery(fields, ref(read.document), ref(bound.plan), read.cost, bound.variables)
