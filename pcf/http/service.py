"""The GraphQL service, which answers a GraphQL request stage by stage.

A request passes these stages: read the document, check the cost, look up the viewer and the cached
response, authorise, acquire a slot, charge, execute, store. Each stage returns a value for the
next. A hit ends after the look-up.
"""

import hashlib
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from time import perf_counter
from typing import Any

import graphene
from graphql import ExecutionResult, GraphQLSchema, print_schema

from pcf.cache import trigger_sql
from pcf.cache.declaration_checks import uncovered
from pcf.cache.entries import Content, Entry
from pcf.cache.keys import request_digest, token_digest
from pcf.cache.redis_gateway import redis_gateway
from pcf.cache.response_cache import CachedResponses, LookupResult
from pcf.cache.triggers import declared_kinds
from pcf.conf import config
from pcf.database.query_log import (
    count_queries,
    report_n_plus_one,
    report_undeclared_read,
    undeclared_kind,
)
from pcf.database.replicas import replicas
from pcf.documents.document import Document, DocumentStore, InvalidDocument, Operation
from pcf.documents.persisted import PersistedDocuments, PersistedStore, load_manifest
from pcf.errors import ClientError
from pcf.http.cache_lookup import CacheLookup, FindCredentials, LookupOutcome
from pcf.http.caching import (
    BYPASS,
    MISS,
    NO_STORE,
    STORED,
    compress_response,
    entry_response,
    hit_response,
    undeclared_read_status,
)
from pcf.http.error_responses import (
    error_response,
    execution_error_response,
    invalid_document_response,
    is_too_large,
    response_too_large,
    to_graphql_error,
)
from pcf.http.known_requests import KnownRequest, KnownRequests
from pcf.http.operation_runner import Execution, OperationRunner, middleware_names
from pcf.http.rate_limits import RateLimiter, Slot, TooManyRequests, client_key
from pcf.http.read_sources import ReadSources, WalPositions
from pcf.http.request import BadRequest, GraphQLRequest
from pcf.http.request_state import PreparedOperation, ReadOperation, RequestState
from pcf.http.response import GraphQLResponse, encode, record_operation
from pcf.http.session_cookie import with_cookie
from pcf.http.short_queries import ShortQueries, cost_of
from pcf.observability import metrics
from pcf.observability.tracing import span
from pcf.timeouts import TimeoutContext, activate
from pcf.viewer import ANONYMOUS, Viewer, current_locale, default_locale, require_scope

FindViewers = Callable[[Any], list[Viewer]]


def make_service(
    schema: graphene.Schema,
    find_credentials: FindCredentials = lambda _: None,
    find_viewers: FindViewers = lambda _: [],
) -> "GraphQLService":
    """Return a service for ``schema``, configured by ``settings.PCF``.

    Without ``find_credentials`` no bearer token is valid. Raises ImproperlyConfigured when the
    manifest of trusted documents cannot be read.
    """
    settings, gateway = config(), redis_gateway()
    documents = PersistedDocuments(
        DocumentStore(schema.graphql_schema, settings.documents),
        PersistedStore(gateway),
        load_manifest(settings.persisted.manifest),
        settings.persisted.mode,
    )
    return GraphQLService(
        schema.graphql_schema,
        documents,
        CachedResponses(gateway),
        find_credentials,
        RateLimiter(gateway),
        ReadSources(replicas(), WalPositions(gateway)),
        find_viewers,
    )


class GraphQLService:
    """Answers GraphQL requests; shared by all threads of a process.

    When Redis fails, every request is executed. When PostgreSQL fails, only hits are answered.
    """

    def __init__(
        self,
        schema: GraphQLSchema,
        documents: PersistedDocuments,
        cache: CachedResponses,
        find_credentials: FindCredentials,
        rate_limiter: RateLimiter,
        sources: ReadSources,
        find_viewers: FindViewers = lambda _: [],
    ) -> None:
        """``find_credentials`` returns the credentials behind a token's text, None if it is not
        valid. ``find_viewers`` returns the viewers that a user's tokens stand for; commands use it
        to ask in the name of a user.
        """
        definition = [str(default_locale()), *middleware_names(), print_schema(schema)]
        encoded = "\0".join(definition).encode() + trigger_sql.fingerprint()
        self._fingerprint = hashlib.sha256(encoded).digest()
        self._documents = documents
        self.find_viewers = find_viewers
        self._cache = cache
        self._rate_limiter = rate_limiter
        self._sources = sources
        self._runner = OperationRunner(schema, sources)
        self.short_queries = ShortQueries(documents, self._runner)
        self._cache_lookup = CacheLookup(cache, find_credentials, rate_limiter)
        self._kinds = declared_kinds()
        size = config().cache.remembered_requests
        self.known_requests = KnownRequests(cache, rate_limiter, size)

    def answer(
        self, request: GraphQLRequest, timeout: TimeoutContext, state: RequestState | None = None,
        viewer: Viewer = ANONYMOUS, read: ReadOperation | None = None,
    ) -> GraphQLResponse:  # fmt: skip
        """Return the response to ``request`` within ``timeout``; errors become responses, too.

        ``state`` is that of an HTTP request with this one GraphQL request. ``viewer`` is the viewer
        of a request without a token. ``read`` is what ``short_queries`` has read.
        """
        started = perf_counter()
        document, operation, cost, bound = read or (None,) * 4  # the metrics need them
        with count_queries(limit=config().database.repeated_statements) as queries:
            try:
                with span("document"):
                    document = document or self._documents.find(request.query, request.document_id)
                    operation = operation or document.operation(request.operation_name)
                    digest = self._response_digest(request, document, operation)
                cost = cost or cost_of(request, operation)
                token = None if request.token is None else token_digest(request.token)
                prepared = PreparedOperation(
                    request, timeout, state, document, operation, digest, cost, token,
                    viewer if token is None else None, bound,
                )  # fmt: skip
                self._remember(prepared)
                response = self._respond(prepared)
            except InvalidDocument as error:
                response = invalid_document_response(error.errors)
            except ClientError as error:
                response = error_response(error)
        response = compress_response(response, request.coding, config().cache.compress_from_bytes)
        if queries.repeated:
            report_n_plus_one(queries)
        metrics.db_query_count.observe(queries.count)
        record_operation(
            operation.type if operation else "none",
            metrics.complexity_bucket(operation.measure.complexity if operation else None),
            statements=queries.count,
            seconds=perf_counter() - started,
        )
        return response

    # --- Stage 1: the document

    def _response_digest(
        self, request: GraphQLRequest, document: Document, operation: Operation
    ) -> str | None:
        """Return the digest that names the response in the cache; None if it must not be cached.

        Raises BadRequest for a GET request that is no query.
        """
        if request.queries_only and operation.type != "query":
            raise BadRequest("GET requests can only run queries", status=405)
        bypass = None
        if not config().cache.enabled:
            bypass = "disabled"
        elif operation.type != "query":
            bypass = operation.type
        elif request.no_store:
            bypass = "no-store"
        elif operation.hint.max_age == 0:
            bypass = "uncacheable"
        if bypass is not None:
            metrics.cache_bypasses.labels(bypass).inc()
            return None
        # Variables that the operation does not declare cannot change its response.
        given = request.variables
        declared = {name: given[name] for name in given if name in operation.variables}
        return request_digest(
            self._fingerprint, document.digest, operation.name, declared, current_locale()
        )

    def _remember(self, prepared: PreparedOperation) -> None:
        """Make the request known by its bytes."""
        state, operation = prepared.state, prepared.operation
        if prepared.digest and state is not None and state.raw_digest is not None:
            complexity = metrics.complexity_bucket(operation.measure.complexity)
            known = KnownRequest(prepared.digest, operation.hint, prepared.cost.points, complexity)
            self.known_requests.remember(state.raw_digest, known)

    # --- Stage 2: the look-up

    def _respond(self, prepared: PreparedOperation) -> GraphQLResponse:
        """Return the cached response, or execute the operation."""
        timeout = prepared.timeout.child_budget("graphql")
        with activate(timeout):
            with span("cache"):
                found = self._cache_lookup.find(prepared)
            response = self._respond_with(prepared, found, timeout)
            self._register(prepared, found, response)
            return response

    def _respond_with(
        self, prepared: PreparedOperation, found: LookupOutcome, timeout: TimeoutContext
    ) -> GraphQLResponse:
        if found.entry is not None:
            self._learn_coding(prepared, found.entry)
            hint, statistics = prepared.operation.hint, self._cache.hit_statistics
            return hit_response(statistics, found.entry, hint, prepared.request)
        with found.flight.lease(prepared.timeout.deadline) if found.flight else nullcontext():
            return self._respond_to_miss(prepared, found, timeout)

    def _register(
        self, prepared: PreparedOperation, found: LookupOutcome, response: GraphQLResponse
    ) -> None:
        """Register a persisted document that came with its text, after it had a good answer."""
        request = prepared.request
        if request.query and request.document_id is not None and response.outcome == "ok":
            client = client_key(found.viewer, request.address)
            self._documents.register(prepared.document, client)

    def _learn_coding(self, prepared: PreparedOperation, entry: Entry) -> None:
        """Make direct reads find ``entry``, which is in the cache."""
        state = prepared.state
        if state is not None and state.raw_digest is not None:
            self.known_requests.learn_coding(state.raw_digest, prepared.request, entry)

    # --- Stage 3: the right to execute

    def _respond_to_miss(
        self, prepared: PreparedOperation, found: LookupOutcome, timeout: TimeoutContext
    ) -> GraphQLResponse:
        """Authorise, acquire a slot, charge and execute."""
        if found.miss is not None:
            metrics.cache_misses.inc()
            self._cache.hit_statistics.add_miss()
        require_scope(found.viewer, prepared.operation.type)
        slot = self._acquire(prepared, found)
        try:
            self._charge(prepared, found)
            return self._execute(prepared, found, timeout, slot)
        finally:
            self._rate_limiter.release(slot)

    def _acquire(self, prepared: PreparedOperation, found: LookupOutcome) -> Slot | None:
        """Acquire one of the client's slots; refund what the look-up has charged if none is free.

        Raises TooManyRequests.
        """
        address = prepared.request.address
        try:
            return self._rate_limiter.acquire(found.viewer, address, prepared.cost.points)
        except TooManyRequests:
            if found.retry_after == 0:
                self._rate_limiter.refund(found.viewer, address, prepared.cost.points)
            raise

    def _charge(self, prepared: PreparedOperation, found: LookupOutcome) -> None:
        """Charge the cost unless the look-up has done so. Raises RateLimited."""
        if found.retry_after is not None:
            self._rate_limiter.check_retry_after(found.viewer, found.retry_after)
        else:
            cost = prepared.cost.points
            self._rate_limiter.charge(found.viewer, prepared.request.address, cost)

    # --- Stage 4: the execution

    def _execute(
        self, prepared: PreparedOperation, found: LookupOutcome, timeout: TimeoutContext,
        slot: Slot | None,
    ) -> GraphQLResponse:  # fmt: skip
        """Execute the operation and return its response; store the response if it may be cached."""
        on_bytes = partial(self._rate_limiter.add_bytes, slot) if slot else None
        execution = self._runner.run(prepared, found.viewer, timeout, on_bytes)
        result, context = execution.result, execution.context
        extensions = prepared.cost_extensions()
        limit = config().requests.max_response_bytes
        if not result.errors:
            body = execution.body or encode({"data": result.data, **extensions})
            self.short_queries.note_size(prepared, len(body))
            if len(body) <= limit:
                if prepared.operation.type == "query":
                    return self._store(prepared, found, execution, body)
                self._charge_bytes(prepared, found, len(body))
                headers = {"Cache-Status": BYPASS, "Cache-Control": NO_STORE}
                return with_cookie(GraphQLResponse(body, headers=headers), context)
            result = ExecutionResult(None, [to_graphql_error(response_too_large())])
        if is_too_large(result):
            self._charge_bytes(prepared, found, limit)
        response = execution_error_response(result, MISS if found.miss else BYPASS, extensions)
        return with_cookie(response, context)

    def _charge_bytes(self, prepared: PreparedOperation, found: LookupOutcome, size: int) -> None:
        """Charge a response of ``size`` bytes for what its estimated cost has not paid."""
        points = prepared.cost.points_beyond(size, config().documents)
        if points:
            self._rate_limiter.spend(found.viewer, prepared.request.address, points)

    # --- Stage 5: the store

    def _store(
        self, prepared: PreparedOperation, found: LookupOutcome, execution: Execution, body: bytes
    ) -> GraphQLResponse:
        """Return the response of a query without errors; store it in the cache if it may be."""
        settings, request, hint = config().cache, prepared.request, prepared.operation.hint
        context, stale = execution.context, hint.stale
        ages = (settings.default_ttl, hint.max_age, context.max_age)
        max_age = min([age for age in ages if age is not None])
        undeclared = self._undeclared_read(execution) if found.miss else None
        fence = self._fence(found, execution, max_age, len(body), undeclared)
        content = Content.of(body, settings.compress_from_bytes if fence else None)
        if fence is not None:
            if found.flight is not None:
                found.flight.leave_to_store()
            name = prepared.entry_name(found.viewer)
            dependencies = context.dependencies
            points = prepared.cost.points_beyond(len(body), config().documents)
            cost = self._rate_limiter.store_cost(found.viewer, request.address, points)
            if self._cache.store(
                fence, name, content, max_age, dependencies, stale=stale, cost=cost
            ):
                entry = content.entry(gzip=request.accepts_gzip, max_age=max_age, stale=stale)
                self._learn_coding(prepared, entry)
                return entry_response(entry, STORED, hint, request)
        self._charge_bytes(prepared, found, len(body))
        entry = content.unstored(
            request.coding, settings.compress_from_bytes, max_age=max_age, stale=stale
        )
        status = MISS if found.miss else BYPASS
        if undeclared:
            status = undeclared_read_status(undeclared)
        return entry_response(entry, status, hint, request)

    def _undeclared_read(self, execution: Execution) -> str | None:
        """Return the place of the first undeclared read, or None.

        A dependency counts whose kind no Touch declares. So does a column that no Touch counts.
        """
        dependencies = execution.context.dependencies
        if unknown := dependencies.kinds_outside(self._kinds):
            return undeclared_kind(unknown)
        return dependencies.undeclared or uncovered(dependencies)

    def _fence(
        self, found: LookupOutcome, execution: Execution, max_age: int, size: int,
        undeclared: str | None,
    ) -> LookupResult | None:  # fmt: skip
        """Return the look-up behind which a response of ``size`` bytes may be stored.

        None means that the response must not be stored. ``max_age`` is in seconds, ``undeclared``
        the place of an undeclared read.
        """
        if found.miss is None:
            return None
        if max_age <= 0 or size > config().cache.max_body_bytes:
            metrics.cache_refusals.labels("size" if max_age > 0 else "uncacheable").inc()
            return None
        if undeclared is not None:
            metrics.cache_refusals.labels("undeclared").inc()
            report_undeclared_read(undeclared)
            return None
        fence = self._sources.fence(found.miss, execution.source)
        if fence is None:
            metrics.cache_refusals.labels("replica").inc()
        return fence
