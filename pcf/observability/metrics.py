"""All metrics that the engine exports. A new metric also belongs on docs/operations.md (Metrics).

The values of a label come from a closed set in this module. A label is never a user, an id, or text
that a client chose. ``Labelled`` counts a value outside of its set as ``other``.

Under gunicorn each process writes to its own files (``multiprocess``). An increment then takes some
microseconds; ``labels`` reads one dictionary.
"""

from collections.abc import Iterable
from itertools import product
from typing import Generic, TypeVar

import prometheus_client
from prometheus_client import Gauge, Metric

from pcf._compat.prometheus import Counter, Histogram
from pcf.observability.multiprocess import use_worker_files

use_worker_files()  # before the first metric is made

M = TypeVar("M", prometheus_client.Counter, Gauge, prometheus_client.Histogram)

OTHER = "other"
MAX_NAMES = 50  # values of an open label: loaders, kinds of dependencies, databases

OPERATION_TYPES = ("query", "mutation", "subscription", "none")
COMPLEXITY_BUCKETS = ("simple", "moderate", "complex", "none")
OUTCOMES = ("ok", "client_error", "server_error")  # the worst last
CODES = (
    "BAD_REQUEST", "BAD_USER_INPUT", "BATCH_TOO_LARGE", "BODY_TOO_LARGE", "COST_TOO_HIGH",
    "DOCUMENT_NOT_TRUSTED", "DOCUMENT_TOO_LARGE", "GRAPHQL_PARSE_FAILED",
    "GRAPHQL_VALIDATION_FAILED", "FOREIGN_ORIGIN", "IDEMPOTENCY_KEY_IN_USE",
    "IDEMPOTENCY_KEY_REUSED", "INSUFFICIENT_SCOPE", "INTERNAL_SERVER_ERROR",
    "INTROSPECTION_DISABLED", "LIMIT_EXCEEDED", "OPERATION_RESOLUTION_FAILURE", "OUTCOME_UNKNOWN",
    "PERSISTED_QUERY_HASH_MISMATCH", "PERSISTED_QUERY_NOT_FOUND", "PERSISTED_QUERY_NOT_SUPPORTED",
    "RATE_LIMITED", "RESPONSE_TOO_LARGE", "SERVICE_UNAVAILABLE", "TIMEOUT", "TOO_MANY_REQUESTS",
    "UNAUTHENTICATED", "VARIABLES_TOO_LARGE",
)  # fmt: skip
LIMITS = (
    "aliases", "batch", "body", "characters", "complexity", "concurrent", "concurrent_bytes",
    "concurrent_cost", "cost", "depth", "directives", "fragments", "introspection",
    "introspection_depth", "items", "list_depth", "rate", "repeats", "response", "root_fields",
    "tokens", "unknown_names", "value_depth", "variables", "variables_bytes", "variables_depth",
    "variables_values",
)  # fmt: skip
SERVER_ERRORS = frozenset(
    {"INTERNAL_SERVER_ERROR", "OUTCOME_UNKNOWN", "SERVICE_UNAVAILABLE", "TIMEOUT"}
)
STATUSES = (
    "200", "204", "294", "304", "400", "401", "403", "404", "405", "406", "408", "411", "413",
    "415", "422", "429", "500", "503", "504",
)  # fmt: skip
LAYERS = ("http", "client", "graphql", "database", "cache")  # of limits that responses name
BYPASS_REASONS = (
    "disabled", "mutation", "subscription", "no-store", "unavailable", "uncacheable"
)  # fmt: skip
STORE_REFUSALS = ("size", "share", "fence", "unavailable", "uncacheable", "replica", "undeclared")
COMMANDS = (
    "lookup", "read", "store", "complete", "renew", "wait", "overview",
    "block", "release", "invalidate", "ping", "other",
)  # fmt: skip
CODINGS = ("identity", "gzip")
FLIGHT_OUTCOMES = ("joined", "executed")
_LOST_CONNECTION = ("admin_shutdown", "crash_shutdown", "cannot_connect_now", "connection_lost")
RETRY_REASONS = (
    *_LOST_CONNECTION, "serialization_failure", "deadlock_detected", "read_only_sql_transaction",
    "statement_failed", "late_statement",
)  # fmt: skip
POOL_STATES = ("size", "limit", "in_use", "waiting")
PLAN_FALLBACKS = ("condition", "root_type", "recursion")

SIMPLE_COMPLEXITY = 10
MODERATE_COMPLEXITY = 50

# seconds; the service level objective is 200 ms, the limit of a request 30 s
_DURATIONS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0,
    20.0, 30.0,
)  # fmt: skip
_COMMANDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25)  # seconds
_COUNTS = (0, 1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 50, 100)
_BYTES = (256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304)
_BATCHES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)


def complexity_bucket(complexity: int | None) -> str:
    """Return ``simple`` (0-10 selected fields), ``moderate`` (11-50), ``complex``, or ``none``."""
    if complexity is None:
        return "none"
    if complexity <= SIMPLE_COMPLEXITY:
        return "simple"
    return "moderate" if complexity <= MODERATE_COMPLEXITY else "complex"


def outcome(codes: Iterable[str]) -> str:
    """Return the outcome of a response with errors of these codes for the service level objective.

    One of ``OUTCOMES``; ``server_error`` when the service is the cause of at least one error.
    """
    found = "ok"
    for code in codes:
        if code in SERVER_ERRORS:
            return "server_error"
        found = "client_error"
    return found


class Labelled(Generic[M]):
    """A metric whose labels have a bounded number of values; safe for all threads.

    ``sets`` has one item for each label, in the metric's order. An item is the set of the label's
    values. It is None for names that the project's code chooses, such as loaders: the metric keeps
    the first ``MAX_NAMES`` of them. Every other value becomes ``other``.

    If all sets are closed, all series exist from the start with the value zero. So Prometheus sees
    the first increment as an increase.
    """

    def __init__(self, metric: M, *sets: tuple[str, ...] | None) -> None:
        self._metric: M = metric
        self._sets = sets
        self._names: list[set[str]] = [set() for _ in sets]
        self._children: dict[tuple[str, ...], M] = {}
        closed = [values for values in sets if values is not None]
        if len(closed) == len(sets):
            for values in product(*closed):
                self._children[values] = metric.labels(*values)

    def labels(self, *values: str) -> M:
        """Return the series with these label values; a value outside of its set is ``other``."""
        child = self._children.get(values)
        if child is None:
            bounded = tuple(map(self._bounded, self._sets, self._names, values))
            child = self._metric.labels(*bounded)
            if OTHER not in bounded:  # values that clients choose must not fill the memory
                self._children[values] = child
        return child

    @staticmethod
    def _bounded(allowed: tuple[str, ...] | None, names: set[str], value: str) -> str:
        if allowed is not None:
            return value if value in allowed else OTHER
        if value not in names and len(names) >= MAX_NAMES:
            return OTHER
        names.add(value)
        return value

    def collect(self) -> Iterable[Metric]:
        """Return the metric's series of this process, as prometheus_client's ``collect`` does."""
        families: Iterable[Metric] = self._metric.collect()
        return families


# --- requests

request_duration = Labelled(
    Histogram(
        "graphql_request_duration_seconds",
        "Time to answer a GraphQL request",
        ("operation_type", "complexity_bucket"),
        buckets=_DURATIONS,
    ),
    OPERATION_TYPES,
    COMPLEXITY_BUCKETS,
)
# pcf.http.error_responses.format_error counts errors, refusals by a limit, and deadlines.
request_errors = Labelled(
    Counter("graphql_errors_total", "Errors in GraphQL responses by extensions.code", ("code",)),
    CODES,
)
http_responses = Labelled(
    Counter(
        "graphql_http_responses_total",
        "GraphQL responses by HTTP status and by outcome for the service level objective",
        ("status", "outcome"),
    ),
    STATUSES,
    OUTCOMES,
)
connections_ended = Labelled(
    Counter(
        "http_connections_ended_total",
        "Connections that the server ended because the client exceeded a limit, by limit",
        ("limit",),
    ),
    ("address", "process", "head", "unread"),
)
limit_refusals = Labelled(
    Counter("graphql_limit_refusals_total", "Requests that exceeded a limit, by limit", ("limit",)),
    LIMITS,
)
timeouts = Labelled(
    Counter(
        "timeouts_total", "Deadlines that were exceeded, by the layer of the limit", ("layer",)
    ),
    LAYERS,
)

# --- documents and plans

documents = Labelled(
    Counter(
        "documents_total", "Documents by whether they were known, prepared or refused", ("outcome",)
    ),
    ("known", "prepared", "refused"),
)
document_duration = Histogram(
    "document_prepare_duration_seconds",
    "Time to parse, measure and validate a document that was unknown",
    buckets=_DURATIONS,
)
plans_compiled = Counter("plans_compiled_total", "Plans that the service compiled")
plan_fallbacks = Labelled(
    Counter(
        "plan_fallbacks_total",
        "Operations executed without a plan, by the reason",
        ("reason",),
    ),
    PLAN_FALLBACKS,
)
execution_duration = Histogram(
    "graphql_execution_duration_seconds", "Time to execute an operation", buckets=_DURATIONS
)

# --- loaders

loader_batch_size = Labelled(
    Histogram(
        "dataloader_batch_size", "Keys in one batch of a loader", ("loader",), buckets=_BATCHES
    ),
    None,
)

# --- the response cache

cache_hits = Counter("response_cache_hits_total", "Responses served from the cache")
cache_misses = Counter("response_cache_misses_total", "Responses not found in the cache")
cache_bypasses = Labelled(
    Counter(
        "response_cache_bypasses_total",
        "Requests that bypassed the cache, by the reason",
        ("reason",),
    ),
    BYPASS_REASONS,
)
cache_stores = Counter("response_cache_stores_total", "Responses stored")
cache_refusals = Labelled(
    Counter(
        "response_cache_refused_stores_total", "Responses not stored, by the reason", ("reason",)
    ),
    STORE_REFUSALS,
)
cache_invalidations = Labelled(
    Counter(
        "response_cache_invalidations_total",
        "Dependencies that writes invalidated, by kind",
        ("kind",),
    ),
    None,
)
cache_pending = Counter(
    "response_cache_owed_total",
    "Pending writes: commits whose invalidation did not reach Redis at once",
)
cache_recovered = Labelled(
    Counter(
        "response_cache_recovered_total",
        "Invalidations that the outbox relay delivered: outbox rows, blocks of ended transactions",
        ("what",),
    ),
    ("outbox", "block"),
)
cache_body_bytes = Labelled(
    Histogram(
        "response_cache_body_bytes",
        "Size of stored responses, by content coding",
        ("coding",),
        buckets=_BYTES,
    ),
    CODINGS,
)
cache_flights = Labelled(
    Counter(
        "response_cache_flights_total",
        "Misses that joined an equal request in flight: served by it, or executed after all",
        ("outcome",),
    ),
    FLIGHT_OUTCOMES,
)
cache_failures = Counter(
    "response_cache_failures_total", "Commands that Redis failed to answer in time"
)
cache_commands = Labelled(
    Histogram(
        "redis_command_duration_seconds",
        "Time of one command to Redis, including failed ones",
        ("command",),
        buckets=_COMMANDS,
    ),
    COMMANDS,
)

# --- the database

db_query_count = Histogram(
    "db_query_count",
    "SQL statements of one GraphQL request; cache hits on known requests are not counted",
    buckets=_COUNTS,
)
db_statement_duration = Histogram(
    "db_statement_duration_seconds", "Time of one SQL statement", buckets=_DURATIONS
)
db_slow_statements = Counter(
    "db_slow_statements_total", "Statements that exceeded the slow threshold"
)
db_repeated_statements = Counter(
    "db_repeated_statements_total", "Requests that repeated one statement too often (N+1)"
)
db_retries = Labelled(
    Counter(
        "db_retries_total", "Statements and transactions that were retried, by reason", ("reason",)
    ),
    RETRY_REASONS,
)
db_pool = Labelled(
    Gauge(
        "db_pool_connections",
        "Database connections of all workers, by state: size, limit, in use; waiting requests",
        ("database", "state"),
        multiprocess_mode="livesum",
    ),
    None,
    POOL_STATES,
)
db_pool_wait = Labelled(
    Histogram(
        "db_pool_wait_seconds",
        "Time for which a request waited for a connection",
        ("database",),
        buckets=_DURATIONS,
    ),
    None,
)

# --- read replicas

READ_SOURCES = ("primary", "replica")
READ_REASONS = (
    "replica",  # a replica that has replayed the viewer's writes
    "none",  # no replica is usable
    "behind",  # the chosen replica has not replayed the viewer's writes
    "unknown",  # Redis cannot tell the position of the viewer's writes
    "failed",  # a replica failed during a query, and the primary took over
)
db_reads = Labelled(
    Counter(
        "db_query_reads_total",
        "GraphQL queries by the database server they read from and the reason, with replicas",
        ("source", "reason"),
    ),
    READ_SOURCES,
    READ_REASONS,
)
db_replica_lag = Labelled(
    Gauge(
        "db_replica_lag_seconds",
        "Time by which a replica is behind the primary",
        ("replica",),
        multiprocess_mode="livemax",
    ),
    None,
)
db_replica_in_use = Labelled(
    Gauge(
        "db_replica_in_use",
        "Whether the service reads from a replica",
        ("replica",),
        multiprocess_mode="livemin",
    ),
    None,
)
