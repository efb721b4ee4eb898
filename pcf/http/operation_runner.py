"""The execution of an operation: on a replica or on the primary, with one repetition if need be."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple

from django.utils.module_loading import import_string
from graphql import DocumentNode, ExecutionResult, GraphQLSchema, MiddlewareManager

from pcf.conf import config, graphene_middleware
from pcf.database.query_log import watch_reads
from pcf.database.replicas import read_from
from pcf.database.retry import backoff, idempotent_reads
from pcf.database.snapshots import ERRORS_OF_STATEMENTS, one_snapshot
from pcf.errors import ClientError
from pcf.execution.context import Client, RequestContext
from pcf.execution.executor import execute, execute_bound, known_plan
from pcf.execution.plan_cache import Plan
from pcf.http.error_responses import to_graphql_error
from pcf.http.idempotency import IdempotentOperation
from pcf.http.rate_limits import TooManyRequests
from pcf.http.read_sources import PRIMARY_SOURCE, ReadSource, ReadSources
from pcf.http.request_state import PreparedOperation
from pcf.observability import metrics
from pcf.observability.tracing import span
from pcf.timeouts import DeadlineExceeded, TimeoutContext
from pcf.viewer import ANONYMOUS, Viewer

_NULL_ERROR = "Cannot return null for non-nullable field"

OnBytes = Callable[[int], object]


class Execution(NamedTuple):
    """One execution of an operation: its context, its result, and the database that it read.

    ``body`` is the JSON of the response where it is stored for an idempotency key.
    """

    context: RequestContext
    result: ExecutionResult
    source: ReadSource = PRIMARY_SOURCE
    body: bytes | None = None


def make_middleware() -> MiddlewareManager | None:
    """Return the middleware of the settings, as graphene-django makes it; None without one.

    A dotted name is imported, and a class is called. Raises ImportError for a wrong name.
    """
    loaded = [import_string(it) if isinstance(it, str) else it for it in graphene_middleware()]
    middlewares = [each() if isinstance(each, type) else each for each in loaded]
    return MiddlewareManager(*middlewares) if middlewares else None


def middleware_names() -> list[str]:
    """Return the names of the middleware of the settings, the same in every process."""
    return [
        it if isinstance(it, str) else str(getattr(it, "__qualname__", type(it).__qualname__))
        for it in graphene_middleware()
    ]


def lacks_required_value(result: ExecutionResult) -> bool:
    """Return whether a field that must not be null was null (specification section 6.4.4)."""
    return any(error.message.startswith(_NULL_ERROR) for error in result.errors or ())


class OperationRunner:
    """Executes operations; shared by all threads of a process.

    When a replica fails during a query, the primary executes the query again. When the primary
    fails, ``ExecutionResult.errors`` has DatabaseUnavailable.
    """

    def __init__(self, schema: GraphQLSchema, sources: ReadSources) -> None:
        self._schema = schema
        self._middleware = make_middleware()
        self._sources = sources

    def known_plan(
        self, document: DocumentNode, name: str | None, variables: Mapping[str, Any]
    ) -> Plan | None:
        """Return the plan of the operation ``name``, if this process has compiled it.

        Returns None where there is graphene middleware, which may wrap any resolver.
        """
        if self._middleware is not None:
            return None
        return known_plan(self._schema, document, name, variables)

    def run(
        self,
        prepared: PreparedOperation,
        viewer: Viewer,
        timeout: TimeoutContext,
        on_bytes: OnBytes | None = None,
    ) -> Execution:
        """Execute the operation for ``viewer``.

        ``on_bytes`` gets the bytes of the response as they are counted. Raises DeadlineExceeded
        when ``timeout`` ends between two levels of the response, and TooManyRequests when
        ``on_bytes`` does.
        """
        started = perf_counter()
        is_query = prepared.operation.type == "query"
        run = self._run_query if is_query else self._run_mutation
        execution = run(prepared, viewer, timeout, on_bytes)
        metrics.execution_duration.observe(perf_counter() - started)
        return execution

    def _run_query(
        self,
        prepared: PreparedOperation,
        viewer: Viewer,
        timeout: TimeoutContext,
        on_bytes: OnBytes | None,
    ) -> Execution:
        """Execute a query on a replica or on the primary.

        Fields of a query have no side effects (spec section 6.2.1), so reads may be repeated. The
        primary repeats the query when the replica fails; nothing is repeated on the replica.
        """
        source = self._sources.choose(viewer)
        with read_from(source.alias), idempotent_reads(source.is_primary):
            execution = self._run_in_snapshot(prepared, viewer, timeout, on_bytes, source)
        if self._sources.failed(source, execution.result):
            with idempotent_reads():
                execution = self._run_in_snapshot(prepared, viewer, timeout, on_bytes)
        return execution

    def _run_in_snapshot(
        self,
        prepared: PreparedOperation,
        viewer: Viewer,
        timeout: TimeoutContext,
        on_bytes: OnBytes | None,
        source: ReadSource = PRIMARY_SOURCE,
    ) -> Execution:
        """Execute a query whose statements read one snapshot; repeat it when the snapshot is lost.

        On a replica a lost connection is not repeated.
        """
        if not config().database.one_snapshot:
            execution = self._run_once(prepared, viewer, timeout, on_bytes, source)
            if lacks_required_value(execution.result):  # its row vanished between two statements
                execution = self._run_once(prepared, viewer, timeout, on_bytes, source)
            return execution
        retries: Iterator[int] | None = None
        careful = False
        while True:
            with one_snapshot(careful=careful) as snapshot:
                execution = self._run_once(prepared, viewer, timeout, on_bytes, source)
            reason = snapshot.lost
            if reason is None or not (source.is_primary or reason in ERRORS_OF_STATEMENTS):
                return execution
            if retries is None:
                retries = backoff().retries(timeout)
            if next(retries, None) is None:
                return execution
            metrics.db_retries.labels(reason).inc()
            careful = careful or reason in ERRORS_OF_STATEMENTS

    def _run_mutation(
        self,
        prepared: PreparedOperation,
        viewer: Viewer,
        timeout: TimeoutContext,
        on_bytes: OnBytes | None,
    ) -> Execution:
        operation = IdempotentOperation.of(prepared, viewer, self._schema)
        run = partial(self._run_once, prepared, viewer, timeout, on_bytes)
        try:
            if operation is None:
                return run()
            completed = operation.run(partial(run, is_one_transaction=True))
            execution = completed.execution or Execution(
                RequestContext(viewer), ExecutionResult({}, None)
            )
            return execution._replace(body=completed.body)
        finally:  # a mutation that ran out of time may have written
            self._sources.wrote(viewer, timeout)

    def _run_once(
        self,
        prepared: PreparedOperation,
        viewer: Viewer,
        timeout: TimeoutContext,
        on_bytes: OnBytes | None,
        source: ReadSource = PRIMARY_SOURCE,
        *,
        is_one_transaction: bool = False,
    ) -> Execution:
        """Execute the operation once, with a context and loaders of its own."""
        request = prepared.request
        # A shared response is executed for the anonymous viewer, so a wrong declaration cannot leak
        # what one viewer may see to another.
        client = Client(request.address, request.token, request.from_cookie, request.same_origin)
        context = RequestContext(ANONYMOUS if prepared.operation.hint.is_shared else viewer, client)
        context.is_one_transaction = is_one_transaction
        try:
            with span("execution"), watch_reads() as watch:
                run = partial(self._execute_unbound, prepared)
                if prepared.bound is not None:
                    run = partial(execute_bound, prepared.bound)
                result = run(
                    context_value=context,
                    check=timeout.check,
                    max_items=config().documents.max_items,
                    max_bytes=config().requests.max_response_bytes,
                    on_bytes=on_bytes,
                )
            context.dependencies.undeclared = context.dependencies.undeclared or watch.place
        except (DeadlineExceeded, TooManyRequests):  # no part of the response is complete
            raise
        except ClientError as error:
            result = ExecutionResult(None, [to_graphql_error(error)])
        return Execution(context, result, source)

    def _execute_unbound(self, prepared: PreparedOperation, **options: Any) -> ExecutionResult:
        request = prepared.request
        return execute(
            self._schema,
            prepared.document.node,
            variable_values=dict(request.variables),
            operation_name=request.operation_name,
            middleware=self._middleware,
            **options,
        )
