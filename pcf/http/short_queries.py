"""Short queries: those that a server may answer on its event loop, in a greenlet."""

from pcf.conf import config
from pcf.documents.cost import Cost, check_cost
from pcf.documents.document import Operation
from pcf.documents.persisted import PersistedDocuments
from pcf.errors import ClientError
from pcf.http.operation_runner import OperationRunner
from pcf.http.request import GraphQLRequest
from pcf.http.request_state import PreparedOperation, ReadOperation
from pcf.lru import LRUCache

MAX_RESPONSE_BYTES = 65_536  # of the responses of a short query
_MAX_LONG = 1_000  # operations that are known to have longer ones


def cost_of(request: GraphQLRequest, operation: Operation) -> Cost:
    """Return the cost of the operation with the request's variables. Raises TooExpensive."""
    limits = config().documents
    cost = operation.cost.cost(request.variables)
    cost = cost.with_variables(request.variable_values, request.variable_bytes, limits)
    check_cost(cost, limits)
    return cost


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

    def read(self, request: GraphQLRequest) -> ReadOperation | None:
        """Return the operation of a short query; None for any other request. Never waits."""
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
        if self._long.get((document.digest, operation.name)):
            return None
        is_short = self._runner.waits_for_database_only(
            document.node, operation.name, request.variables
        )
        return ReadOperation(document, operation, cost) if is_short else None

    def note_size(self, prepared: PreparedOperation, size: int) -> None:
        """Note that a response of the operation had ``size`` bytes."""
        if size > MAX_RESPONSE_BYTES:
            self._long.set((prepared.document.digest, prepared.operation.name), True)
