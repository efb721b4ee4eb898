"""The journey of a GraphQL request: document, viewer and cache, execution, bytes."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

from graphql import ExecutionResult, GraphQLError, GraphQLSchema, print_schema

from pcf import metrics
from pcf.apps import config
from pcf.cache.responses import Lookup, ResponseCache, request_digest, token_digest
from pcf.database.errors import DatabaseUnavailable
from pcf.database.retry import idempotent_reads
from pcf.database.routing import read_from
from pcf.database.statements import count_queries
from pcf.documents.cost import Cost, check_cost
from pcf.documents.document import Document, InvalidDocument, Operation, UnknownOperation
from pcf.documents.persisted import PersistedDocuments
from pcf.errors import ClientError, InvalidToken, ResponseTooLarge
from pcf.execution.dependencies import Dependencies
from pcf.execution.execute import execute
from pcf.execution.request import RequestContext
from pcf.http.access import note
from pcf.http.authentication import Credentials, require_scope
from pcf.http.errors import present
from pcf.http.protocol import METHODS, BadRequest, GraphQLRequest, GraphQLResponse, encode
from pcf.http.repetitions import report_repetitions
from pcf.http.sources import PRIMARY_SOURCE, Source, Sources
from pcf.http.throttle import Throttle
from pcf.timeouts import TimeoutContext, activate
from pcf.viewer import ANONYMOUS, Viewer

HIT = "pcf; hit"
STORED = "pcf; fwd=miss; stored"
MISS = "pcf; fwd=miss"
BYPASS = "pcf; fwd=bypass"

STATUSES = {
    "RATE_LIMITED": 429,
    "TOO_MANY_REQUESTS": 429,
    "BODY_TOO_LARGE": 413,
    "UNAUTHENTICATED": 401,
    "INSUFFICIENT_SCOPE": 403,
    "INTERNAL_SERVER_ERROR": 500,
    "SERVICE_UNAVAILABLE": 503,
    "TIMEOUT": 504,
}
HEADERS = {
    405: {"Allow": ", ".join(METHODS)},
    415: {"Accept-Encoding": "identity"},  # RFC 9110 section 12.5.3
    503: {"Retry-After": "1"},
}

# Refusals of a request that is well-formed and authenticated: application/json has 200 for them.
WELL_FORMED = {
    "COST_TOO_HIGH",
    "DOCUMENT_NOT_TRUSTED",
    "PERSISTED_QUERY_HASH_MISMATCH",
    "PERSISTED_QUERY_NOT_FOUND",
    "PERSISTED_QUERY_NOT_SUPPORTED",
}

FindCredentials = Callable[[str], Credentials | None]


@dataclass(slots=True)
class _Journey:
    """One request on its way; filled in as it goes."""

    request: GraphQLRequest
    timeout: TimeoutContext
    document: Document | None = None
    operation: Operation | None = None
    cost: Cost | None = None
    lookup: Lookup | None = None
    viewer: Viewer = ANONYMOUS
    source: Source = PRIMARY_SOURCE
    digest: str | None = None  # of a request whose response may be cached
    token: str | None = field(default=None, repr=False)  # digest of the bearer token


class GraphQLService:
    """Answers GraphQL requests; one for all threads of a process.

    ``find_credentials`` turns the text of a token into credentials, None when it is not valid;
    ``sources`` tells from which database a query reads.
    With Redis gone every request is executed; with PostgreSQL gone only hits are answered.
    """

    def __init__(
        self,
        schema: GraphQLSchema,
        documents: PersistedDocuments,
        cache: ResponseCache,
        find_credentials: FindCredentials,
        throttle: Throttle,
        sources: Sources,
    ) -> None:
        self._schema = schema
        self._fingerprint = hashlib.sha256(print_schema(schema).encode()).digest()
        self._documents = documents
        self._cache = cache
        self._find_credentials = find_credentials
        self._throttle = throttle
        self._sources = sources

    def answer(self, request: GraphQLRequest, timeout: TimeoutContext) -> GraphQLResponse:
        """The response to ``request`` within ``timeout``; every error is an answer, too."""
        started = perf_counter()
        journey = _Journey(request, timeout)
        with count_queries(limit=config().database.repeated_statements) as queries:
            response = self._answer(journey)
        if queries.repeated:
            report_repetitions(queries)
        operation = journey.operation
        metrics.db_query_count.observe(queries.count)
        note(operation=operation.type if operation else "none", statements=queries.count)
        metrics.request_duration.labels(
            operation.type if operation else "none",
            metrics.complexity_bucket(operation.measure.complexity if operation else None),
        ).observe(perf_counter() - started)
        return response

    def _answer(self, journey: _Journey) -> GraphQLResponse:
        request = journey.request
        try:
            self._read_document(journey)
            hit = self._look_up(journey)
            if hit is not None:
                return hit
            self._weigh(journey)
            with activate(journey.timeout.child_budget("graphql")) as timeout:
                self._authenticate(journey)
                if journey.operation is not None:
                    require_scope(journey.viewer, journey.operation.type)
                with self._throttle.slot(journey.viewer, request.address):
                    self._charge(journey)
                    return self._execute(journey, timeout or journey.timeout)
        except InvalidDocument as invalid:
            return _refusal(invalid.errors, 400, 200)
        except UnknownOperation as error:
            return _refusal([_as_graphql(error)], 400, 200)
        except ClientError as error:
            return refused(error)

    def _read_document(self, journey: _Journey) -> None:
        request = journey.request
        journey.document = self._documents.find(request.query, request.document_id)
        journey.operation = journey.document.operation(request.operation_name)
        if request.queries_only and journey.operation.type != "query":
            raise BadRequest("GET requests can only run queries", status=405)

    def _look_up(self, journey: _Journey) -> GraphQLResponse | None:
        """Ask the cache for the viewer and, where it may be cached, the response."""
        request, document, operation = journey.request, journey.document, journey.operation
        assert document is not None and operation is not None  # noqa: S101, PT018
        if request.token is not None:
            journey.token = token_digest(request.token)
        reason = None
        if not config().cache.enabled:
            reason = "disabled"
        elif operation.type != "query":
            reason = operation.type
        elif request.no_store:
            reason = "no-store"
        else:
            # what the operation does not declare cannot change its answer
            given = request.variables
            declared = {name: given[name] for name in given if name in operation.variables}
            journey.digest = request_digest(
                self._fingerprint, document.digest, operation.name, declared
            )
        if config().cache.enabled and (journey.token or journey.digest):
            journey.lookup = self._cache.look_up(journey.token, journey.digest)
            if journey.lookup is None:
                reason, journey.digest = "unavailable", None
        if reason is not None:
            metrics.cache_bypasses.labels(reason).inc()
        lookup = journey.lookup
        if lookup is not None and lookup.entry is not None:
            metrics.cache_hits.inc()
            return GraphQLResponse(lookup.entry.body, headers={"Cache-Status": HIT})
        if journey.digest is not None:
            metrics.cache_misses.inc()
        return None

    def _weigh(self, journey: _Journey) -> None:
        """What the operation costs with these variables. Raises TooExpensive."""
        assert journey.operation is not None  # noqa: S101
        journey.cost = journey.operation.cost.cost(journey.request.variables)
        check_cost(journey.cost, config().documents)

    def _charge(self, journey: _Journey) -> None:
        """Take the cost from what the client may spend. Raises RateLimited."""
        points = journey.cost.points if journey.cost else 1
        self._throttle.charge(journey.viewer, journey.request.address, points)

    def _authenticate(self, journey: _Journey) -> None:
        """Find the viewer in PostgreSQL when the cache does not know the token."""
        text, lookup = journey.request.token, journey.lookup
        if text is None or journey.token is None:
            return
        if lookup is not None and lookup.viewer is not None:
            journey.viewer = lookup.viewer
            return
        credentials = self._find_credentials(text)
        if credentials is None:
            self._throttle.charge(ANONYMOUS, journey.request.address, config().rates.wrong_token)
            raise InvalidToken("The token is not valid")
        journey.viewer = credentials.viewer
        if lookup is None:
            return
        dependencies = Dependencies()
        for kind, key in credentials.dependencies:
            dependencies.add(kind, (key,))
        self._cache.remember_viewer(
            lookup, journey.token, credentials.viewer, credentials.expires_at, dependencies
        )

    def _execute(self, journey: _Journey, timeout: TimeoutContext) -> GraphQLResponse:
        # fields of a query are free of side effects (spec section 6.2.1): reads may be repeated
        is_query = journey.operation is not None and journey.operation.type == "query"
        started = perf_counter()
        if not is_query:
            context, result = self._run(journey, timeout)
            self._sources.wrote(journey.viewer, timeout)
        else:
            journey.source = source = self._sources.choose(journey.viewer)
            # what fails on a replica is not repeated there: the primary takes over
            with read_from(source.alias), idempotent_reads(source.is_primary):
                context, result = self._run(journey, timeout)
            if self._sources.failed(source, result):
                journey.source = PRIMARY_SOURCE
                with idempotent_reads():
                    context, result = self._run(journey, timeout)
        metrics.execution_duration.observe(perf_counter() - started)
        extensions = _cost_report(journey)
        if not result.errors:
            body = encode({"data": result.data, **extensions})
            if len(body) <= config().requests.max_response_bytes:
                status = self._store(journey, context, body)
                return GraphQLResponse(body, headers={"Cache-Status": status})
            result = ExecutionResult(None, [_as_graphql(_too_large())])
        return _with_errors(result, MISS if journey.digest else BYPASS, extensions)

    def _run(
        self, journey: _Journey, timeout: TimeoutContext
    ) -> tuple[RequestContext, ExecutionResult]:
        """Execute the operation, with a context and loaders of its own."""
        request, document = journey.request, journey.document
        assert document is not None  # noqa: S101
        context = RequestContext(journey.viewer)
        try:
            result = execute(
                self._schema,
                document.node,
                context_value=context,
                variable_values=dict(request.variables),
                operation_name=request.operation_name,
                check=timeout.check,
                max_items=config().documents.max_items,
            )
        except ClientError as error:
            if error.code == "TIMEOUT":  # between two steps: nothing of the response is complete
                raise
            result = ExecutionResult(None, [_as_graphql(error)])
        return context, result

    def _store(self, journey: _Journey, context: RequestContext, body: bytes) -> str:
        """Store a clean response; returns the value of Cache-Status."""
        if journey.digest is None or journey.lookup is None:
            return BYPASS
        ttl = config().cache.default_ttl
        if context.max_age is not None:
            ttl = min(ttl, context.max_age)
        if ttl <= 0:
            metrics.cache_refusals.labels("uncacheable").inc()
            return MISS
        lookup = self._sources.fence(journey.lookup, journey.source)
        if lookup is None:
            metrics.cache_refusals.labels("replica").inc()
            return MISS
        stored = self._cache.store(
            lookup, journey.viewer, journey.digest, body, ttl, context.dependencies
        )
        if stored:
            metrics.cache_stores.inc()
        return STORED if stored else MISS


def _cost_report(journey: _Journey) -> dict[str, Any]:
    """The answer's extensions: what the operation cost, for a client that asked."""
    if not journey.request.wants_cost or journey.cost is None:
        return {}
    return {"extensions": {"cost": journey.cost.report(config().documents.max_cost)}}


def _too_large() -> ResponseTooLarge:
    limit = config().requests.max_response_bytes
    return ResponseTooLarge(f"The answer would have more than {limit} bytes; ask for less")


def _as_graphql(error: ClientError) -> GraphQLError:
    return GraphQLError(str(error), original_error=error, extensions=error.extensions)


def _with_errors(
    result: ExecutionResult, cache_status: str, extensions: Mapping[str, Any]
) -> GraphQLResponse:
    """A response with errors, and with partial data unless nothing was executed (spec 7.1)."""
    errors = result.errors or []
    away = _database_away(result)
    if away is not None:
        return refused(away)
    headers = {"Cache-Status": cache_status}
    entries = [present(error) for error in errors]
    content = {"errors": entries, **extensions}
    outcome = _outcome(entries)
    if result.data is None and all(e.path is None and e.original_error is None for e in errors):
        return GraphQLResponse(encode(content), 400, 200, headers, outcome)
    body = encode({**content, "data": result.data})
    return GraphQLResponse(body, headers=headers, outcome=outcome)


def _database_away(result: ExecutionResult) -> DatabaseUnavailable | None:
    """The database's absence, when it left nothing of the response: then there is no response.

    A client that is told so by the status comes back later (Retry-After), and so do balancers.
    """
    if result.data and any(value is not None for value in result.data.values()):
        return None
    for error in result.errors or ():
        original = error.original_error
        while isinstance(original, GraphQLError):
            original = original.original_error
        if isinstance(original, DatabaseUnavailable):
            return original
    return None


def refused(error: ClientError) -> GraphQLResponse:
    """A response that is nothing but ``error``, with the status and headers that go with it."""
    status = error.status if isinstance(error, BadRequest) else STATUSES.get(error.code, 400)
    response = _refusal([_as_graphql(error)], status, 200 if error.code in WELL_FORMED else status)
    headers = {**response.headers, **HEADERS.get(status, {}), **error.headers}
    return replace(response, headers=headers)


def _refusal(errors: list[GraphQLError], status: int, json_status: int) -> GraphQLResponse:
    """A response without execution."""
    entries = [present(error) for error in errors]
    body = encode({"errors": entries})
    headers = {"Cache-Status": BYPASS}
    return GraphQLResponse(body, status, json_status, headers, _outcome(entries))


def _outcome(entries: list[dict[str, Any]]) -> str:
    return metrics.outcome(entry["extensions"]["code"] for entry in entries)
