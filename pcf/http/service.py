"""The journey of a GraphQL request: document, viewer and cache, execution, bytes."""

import hashlib
from collections.abc import Callable
from time import perf_counter
from typing import Any

from graphql import ExecutionResult, GraphQLSchema, print_schema

from pcf import metrics
from pcf.apps import config
from pcf.cache import touches
from pcf.cache.entries import Content, Entry
from pcf.cache.responses import (
    Lookup,
    ResponseCache,
    request_digest,
    token_digest,
)
from pcf.database.retry import idempotent_reads
from pcf.database.routing import read_from
from pcf.database.statements import count_queries
from pcf.documents.cost import check_cost
from pcf.documents.document import InvalidDocument
from pcf.documents.persisted import PersistedDocuments
from pcf.errors import ClientError
from pcf.execution.execute import execute
from pcf.execution.request import RequestContext
from pcf.http.access import note
from pcf.http.arrival import Arrival
from pcf.http.authentication import require_scope
from pcf.http.caching import (
    BYPASS,
    MISS,
    NO_STORE,
    STORED,
    in_coding,
    response_of,
    status_of_hit,
)
from pcf.http.finding import FindCredentials, Finder
from pcf.http.hits import Hits, Known
from pcf.http.journey import Journey
from pcf.http.protocol import BadRequest, GraphQLRequest, GraphQLResponse, encode
from pcf.http.refusals import as_graphql, invalid, refused, too_large, with_errors
from pcf.http.repetitions import report_repetitions
from pcf.http.sources import PRIMARY_SOURCE, Sources
from pcf.http.throttle import Throttle, TooManyAtOnce
from pcf.timeouts import DeadlineExceeded, TimeoutContext, activate
from pcf.tracing import span
from pcf.viewer import ANONYMOUS, Viewer

FindViewers = Callable[[int], list[Viewer]]


class GraphQLService:
    """Answers GraphQL requests; one for all threads of a process.

    ``find_credentials`` turns the text of a token into credentials, None when it is not valid;
    ``find_viewers`` a user's id into the viewers that its tokens stand for: for commands that ask
    in somebody's name.
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
        find_viewers: FindViewers = lambda _: [],
    ) -> None:
        self._schema = schema
        made_under = print_schema(schema).encode() + touches.fingerprint()
        self._fingerprint = hashlib.sha256(made_under).digest()
        self._documents = documents
        self.find_viewers = find_viewers
        self._cache = cache
        self._throttle = throttle
        self._sources = sources
        self._finder = Finder(cache, find_credentials, throttle)
        self.hits = Hits(cache, throttle, config().cache.remembered_requests)

    def answer(
        self, request: GraphQLRequest, timeout: TimeoutContext, arrival: Arrival | None = None,
        viewer: Viewer = ANONYMOUS,
    ) -> GraphQLResponse:  # fmt: skip
        """The response to ``request`` within ``timeout``; every error is an answer, too.

        ``arrival`` is given when the HTTP request was this one GraphQL request. ``viewer`` is who
        asks when the request has no token.
        """
        started = perf_counter()
        journey = Journey(request, timeout, arrival, viewer=viewer)
        with count_queries(limit=config().database.repeated_statements) as queries:
            try:
                response = self._answer(journey)
            finally:
                self._finder.land(journey)
        response = in_coding(response, request.coding, config().cache.compress_from_bytes)
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

    def _answer(self, journey: Journey) -> GraphQLResponse:
        try:
            with span("document"):
                self._read_document(journey)
                self._decide(journey)
            self._weigh(journey)
            self._remember(journey)
            with activate(journey.timeout.child_budget("graphql")) as timeout:
                with span("cache"):
                    entry = self._finder.find(journey)
                if entry is not None:
                    return self._hit(journey, entry)
                if journey.digest is not None:
                    metrics.cache_misses.inc()
                    self._cache.tally.miss()
                viewer = journey.viewer or ANONYMOUS
                if journey.operation is not None:
                    require_scope(viewer, journey.operation.type)
                place = self._take_place(journey, viewer)
                try:
                    self._charge(journey, viewer)
                    return self._execute(journey, timeout or journey.timeout)
                finally:
                    self._throttle.leave_place(place)
        except InvalidDocument as error:
            return invalid(error.errors)
        except ClientError as error:
            return refused(error)

    def _read_document(self, journey: Journey) -> None:
        request = journey.request
        journey.document = self._documents.find(request.query, request.document_id)
        journey.operation = journey.document.operation(request.operation_name)
        if request.queries_only and journey.operation.type != "query":
            raise BadRequest("GET requests can only run queries", status=405)

    def _decide(self, journey: Journey) -> None:
        """Whether the response may be cached, and under which digest."""
        request, document, operation = journey.request, journey.document, journey.operation
        assert document is not None and operation is not None  # noqa: S101, PT018
        if request.token is not None:
            journey.token, journey.viewer = token_digest(request.token), None
        reason = None
        if not config().cache.enabled:
            reason = "disabled"
        elif operation.type != "query":
            reason = operation.type
        elif request.no_store:
            reason = "no-store"
        elif operation.hint.max_age == 0:
            reason = "uncacheable"
        if reason is not None:
            metrics.cache_bypasses.labels(reason).inc()
            return
        # what the operation does not declare cannot change its answer
        given = request.variables
        declared = {name: given[name] for name in given if name in operation.variables}
        journey.digest = request_digest(
            self._fingerprint, document.digest, operation.name, declared
        )

    def _weigh(self, journey: Journey) -> None:
        """What the operation costs with these variables. Raises TooExpensive."""
        assert journey.operation is not None  # noqa: S101
        journey.cost = journey.operation.cost.cost(journey.request.variables)
        check_cost(journey.cost, config().documents)

    def _remember(self, journey: Journey) -> None:
        """Know the request by its bytes the next time."""
        arrival, operation = journey.arrival, journey.operation
        if journey.digest and operation and arrival is not None and arrival.known_as is not None:
            bucket = metrics.complexity_bucket(operation.measure.complexity)
            known = Known(journey.digest, operation.hint, journey.points, bucket)
            self.hits.remember(arrival.known_as, known)

    def _learn(self, journey: Journey, entry: Entry) -> None:
        """Know how to find ``entry`` the next time."""
        arrival = journey.arrival
        if arrival is not None and arrival.known_as is not None:
            self.hits.learn(arrival.known_as, journey.request, entry)

    def _take_place(self, journey: Journey, viewer: Viewer) -> str | None:
        """As ``Throttle.take_place``; gives back what was charged when there is none."""
        address = journey.request.address
        try:
            return self._throttle.take_place(viewer, address)
        except TooManyAtOnce:
            if journey.paid == 0:
                self._throttle.give_back(viewer, address, journey.points)
            raise

    def _charge(self, journey: Journey, viewer: Viewer) -> None:
        """Take the cost from what the client may spend, unless that has been done. Raises
        RateLimited.
        """
        if journey.paid is not None:
            self._throttle.admit(viewer, journey.paid)
        else:
            self._throttle.charge(viewer, journey.request.address, journey.points)

    def _hit(self, journey: Journey, entry: Entry) -> GraphQLResponse:
        metrics.cache_hits.inc()
        self._cache.tally.hit()
        self._learn(journey, entry)
        return response_of(entry, status_of_hit(entry), journey.hint, journey.request)

    def _execute(self, journey: Journey, timeout: TimeoutContext) -> GraphQLResponse:
        viewer = journey.viewer or ANONYMOUS
        # fields of a query are free of side effects (spec section 6.2.1): reads may be repeated
        is_query = journey.operation is not None and journey.operation.type == "query"
        started = perf_counter()
        if not is_query:
            try:
                context, result = self._run(journey, timeout)
            finally:  # what ran out of time has perhaps written, too
                self._sources.wrote(viewer, timeout)
        else:
            journey.source = source = self._sources.choose(viewer)
            # what fails on a replica is not repeated there: the primary takes over
            with read_from(source.alias), idempotent_reads(source.is_primary):
                context, result = self._run(journey, timeout)
            if self._sources.failed(source, result):
                journey.source = PRIMARY_SOURCE
                with idempotent_reads():
                    context, result = self._run(journey, timeout)
        metrics.execution_duration.observe(perf_counter() - started)
        extensions = _cost_report(journey)
        if result.errors:
            return with_errors(result, MISS if journey.digest else BYPASS, extensions)
        body = encode({"data": result.data, **extensions})
        if len(body) > config().requests.max_response_bytes:
            result = ExecutionResult(None, [as_graphql(too_large())])
            return with_errors(result, MISS if journey.digest else BYPASS, extensions)
        if not is_query:
            headers = {"Cache-Status": BYPASS, "Cache-Control": NO_STORE}
            return GraphQLResponse(body, headers=headers)
        return self._clean(journey, context, body)

    def _run(
        self, journey: Journey, timeout: TimeoutContext
    ) -> tuple[RequestContext, ExecutionResult]:
        """Execute the operation, with a context and loaders of its own."""
        request, document, viewer = journey.request, journey.document, journey.viewer
        assert document is not None and viewer is not None  # noqa: S101, PT018
        # what is the same for all is computed for nobody: a wrong declaration shows nothing
        context = RequestContext(ANONYMOUS if journey.hint.is_shared else viewer)
        try:
            with span("execution"):
                result = execute(
                    self._schema,
                    document.node,
                    context_value=context,
                    variable_values=dict(request.variables),
                    operation_name=request.operation_name,
                    check=timeout.check,
                    max_items=config().documents.max_items,
                )
        except DeadlineExceeded:  # between two steps: nothing of the response is complete
            raise
        except ClientError as error:
            result = ExecutionResult(None, [as_graphql(error)])
        return context, result

    def _clean(self, journey: Journey, context: RequestContext, body: bytes) -> GraphQLResponse:
        """The response of a query without errors; stored where it may be."""
        settings, hint, request = config().cache, journey.hint, journey.request
        ages = (settings.default_ttl, hint.max_age, context.max_age)
        max_age = min(age for age in ages if age is not None)
        status = MISS if journey.digest else BYPASS
        lookup = self._fence(journey, max_age, len(body))
        content = Content.of(body, settings.compress_from_bytes if lookup else None)
        if lookup is not None:
            journey.landed = True  # by the store
            if self._cache.store(
                lookup, journey.entry_name, content, max_age, context.dependencies, stale=hint.stale
            ):
                status = STORED
        if status is STORED:
            entry = content.entry(gzip=request.accepts_gzip, max_age=max_age, stale=hint.stale)
            self._learn(journey, entry)
        else:
            entry = content.unstored(
                request.coding, settings.compress_from_bytes, max_age=max_age, stale=hint.stale
            )
        return response_of(entry, status, hint, request)

    def _fence(self, journey: Journey, max_age: int, size: int) -> Lookup | None:
        """The look-up behind which a response of ``size`` bytes is stored; None if it must not."""
        if journey.digest is None or journey.lookup is None:
            return None
        if max_age <= 0 or size > config().cache.max_body_bytes:
            metrics.cache_refusals.labels("size" if max_age > 0 else "uncacheable").inc()
            return None
        lookup = self._sources.fence(journey.lookup, journey.source)
        if lookup is None:
            metrics.cache_refusals.labels("replica").inc()
        return lookup


def _cost_report(journey: Journey) -> dict[str, Any]:
    """The answer's extensions: what the operation cost, for a client that asked."""
    if not journey.request.wants_cost or journey.cost is None:
        return {}
    return {"extensions": {"cost": journey.cost.report(config().documents.max_cost)}}
