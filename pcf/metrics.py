"""Every metric that the engine exports, in one place.

Labels come from closed sets that are written down here; a label is never a user, an id, or a text
that a client chose. ``Labelled`` holds it: what is not in its set is counted as ``other``.

Under gunicorn every process writes to files of its own (``pcf.processes``). There an increment
costs some microseconds, ``labels`` a look into a dictionary.
"""

from collections.abc import Iterable
from itertools import product
from typing import Generic, TypeVar

from prometheus_client import Counter, Gauge, Metric

from pcf.counting import Histogram
from pcf.processes import use_slots

use_slots()  # before the first metric is made

M = TypeVar("M", Counter, Gauge, Histogram)

OTHER = "other"
MAX_NAMES = 50  # of loaders, kinds of dependencies, databases: names that code chooses

OPERATION_TYPES = ("query", "mutation", "subscription", "none")
COMPLEXITY_BUCKETS = ("simple", "moderate", "complex", "none")
OUTCOMES = ("ok", "client_error", "server_error")  # the worst is the last
CODES = (
    "BAD_REQUEST",
    "BAD_USER_INPUT",
    "BATCH_TOO_LARGE",
    "BODY_TOO_LARGE",
    "COST_TOO_HIGH",
    "DOCUMENT_NOT_TRUSTED",
    "DOCUMENT_TOO_LARGE",
    "GRAPHQL_PARSE_FAILED",
    "GRAPHQL_VALIDATION_FAILED",
    "INSUFFICIENT_SCOPE",
    "INTERNAL_SERVER_ERROR",
    "INTROSPECTION_DISABLED",
    "LIMIT_EXCEEDED",
    "OPERATION_RESOLUTION_FAILURE",
    "OUTCOME_UNKNOWN",
    "PERSISTED_QUERY_HASH_MISMATCH",
    "PERSISTED_QUERY_NOT_FOUND",
    "PERSISTED_QUERY_NOT_SUPPORTED",
    "RATE_LIMITED",
    "RESPONSE_TOO_LARGE",
    "SERVICE_UNAVAILABLE",
    "TIMEOUT",
    "TOO_MANY_REQUESTS",
    "UNAUTHENTICATED",
    "VARIABLES_TOO_LARGE",
)
LIMITS = (
    "aliases",
    "batch",
    "body",
    "characters",
    "complexity",
    "concurrent",
    "cost",
    "depth",
    "directives",
    "fragments",
    "introspection",
    "introspection_depth",
    "items",
    "list_depth",
    "rate",
    "repeats",
    "response",
    "root_fields",
    "tokens",
    "unknown_names",
    "value_depth",
    "variables",
    "variables_bytes",
    "variables_depth",
)
SERVER_ERRORS = frozenset(
    {"INTERNAL_SERVER_ERROR", "OUTCOME_UNKNOWN", "SERVICE_UNAVAILABLE", "TIMEOUT"}
)
STATUSES = (
    "200", "204", "294", "304", "400", "401", "403", "404", "405", "406", "408", "411", "413",
    "415", "422", "429", "500", "503", "504",
)  # fmt: skip
LAYERS = ("http", "client", "graphql", "database", "cache")
BYPASS_REASONS = (
    "disabled", "mutation", "subscription", "no-store", "unavailable", "uncacheable"
)  # fmt: skip
REFUSALS = ("size", "fence", "unavailable", "uncacheable", "replica")
COMMANDS = (
    "lookup", "read", "store", "land", "renew", "wait", "overview",
    "mark", "clear", "invalidate", "ping", "other",
)  # fmt: skip
CODINGS = ("identity", "gzip")
FLIGHTS = ("joined", "executed")
_LOST = ("admin_shutdown", "crash_shutdown", "cannot_connect_now", "connection_lost")
REPEATED = (*_LOST, "serialization_failure", "deadlock_detected")
POOL_STATES = ("size", "limit", "in_use", "waiting")
PLAN_FALLBACKS = (
    "middleware",
    "context_class",
    "is_awaitable",
    "condition",
    "root_type",
    "recursion",
)

SIMPLE_COMPLEXITY = 10
MODERATE_COMPLEXITY = 50

# seconds; the SLO is 200 ms, the HTTP limit 30 s
_DURATIONS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0,
    20.0, 30.0,
)  # fmt: skip
_COMMANDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25)  # seconds
_COUNTS = (0, 1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 50, 100)
_BYTES = (256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304)
_BATCHES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)


class Labelled(Generic[M]):
    """A metric with labels from closed sets.

    Each of ``sets`` holds the values of one label, in the order of the metric's labels, or is None
    for names that the project's code chooses; of those the first ``MAX_NAMES`` are kept. All other
    values become ``other``, so whatever comes in, the number of series has a bound. Series of
    closed sets exist from the start, at zero: the first increment is an increase that can be seen.
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
        """The series of these values; those that are not in their set are ``other``."""
        child = self._children.get(values)
        if child is None:
            bounded = tuple(map(self._bounded, self._sets, self._names, values))
            child = self._metric.labels(*bounded)
            if OTHER not in bounded:  # what clients choose must not fill the memory either
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
        """The series of this process, as prometheus_client's."""
        families: Iterable[Metric] = self._metric.collect()
        return families


def complexity_bucket(complexity: int | None) -> str:
    """``simple`` (0-10 selected fields), ``moderate`` (11-50) or ``complex``; ``none`` for None."""
    if complexity is None:
        return "none"
    if complexity <= SIMPLE_COMPLEXITY:
        return "simple"
    return "moderate" if complexity <= MODERATE_COMPLEXITY else "complex"


def outcome(codes: Iterable[str]) -> str:
    """What a response with errors of these codes is to the SLO, one of ``OUTCOMES``.

    ``server_error`` when one of them is the service's own doing: that request was not served.
    """
    answer = "ok"
    for code in codes:
        if code in SERVER_ERRORS:
            return "server_error"
        answer = "client_error"
    return answer


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
request_errors = Labelled(
    Counter("graphql_errors_total", "Errors in GraphQL responses by extensions.code", ("code",)),
    CODES,
)
http_responses = Labelled(
    Counter(
        "graphql_http_responses_total",
        "GraphQL responses by HTTP status, and by what they are to the SLO",
        ("status", "outcome"),
    ),
    STATUSES,
    OUTCOMES,
)
connections_ended = Labelled(
    Counter(
        "http_connections_ended_total",
        "Connections that the server ended in the client's place, by the limit that was reached",
        ("limit",),
    ),
    ("address", "process", "head", "unread"),
)
limit_refusals = Labelled(
    Counter(
        "graphql_limit_refusals_total", "Requests that went beyond a limit, by limit", ("limit",)
    ),
    LIMITS,
)
timeouts = Labelled(
    Counter("timeouts_total", "Deadlines reached, by the layer whose limit it was", ("layer",)),
    LAYERS,
)

# --- documents and plans

documents = Labelled(
    Counter("documents_total", "Documents by where they came from", ("outcome",)),
    ("known", "prepared", "refused"),
)
document_duration = Histogram(
    "document_prepare_duration_seconds",
    "Time to parse, measure and validate a document that was not known",
    buckets=_DURATIONS,
)
plans_compiled = Counter("plans_compiled_total", "Plans that had to be compiled")
plan_fallbacks = Labelled(
    Counter(
        "plan_fallbacks_total",
        "Operations run without a plan, by what could not be compiled",
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
    Counter("response_cache_bypasses_total", "Requests that went past the cache", ("reason",)),
    BYPASS_REASONS,
)
cache_stores = Counter("response_cache_stores_total", "Responses stored")
cache_refusals = Labelled(
    Counter("response_cache_refused_stores_total", "Responses not stored", ("reason",)), REFUSALS
)
cache_invalidations = Labelled(
    Counter("response_cache_invalidations_total", "Dependencies advanced by writes", ("kind",)),
    None,
)
cache_owed = Counter(
    "response_cache_owed_total", "Commits whose invalidation Redis did not take at once"
)
cache_recovered = Labelled(
    Counter(
        "response_cache_recovered_total",
        "What the watch delivered for others: rows of the outbox, marks of transactions that ended",
        ("what",),
    ),
    ("outbox", "mark"),
)
cache_body_bytes = Labelled(
    Histogram("response_cache_body_bytes", "Size of stored responses", ("coding",), buckets=_BYTES),
    CODINGS,
)
cache_flights = Labelled(
    Counter(
        "response_cache_flights_total",
        "Misses that found the same request on its way: served by it, or executed after all",
        ("outcome",),
    ),
    FLIGHTS,
)
cache_failures = Counter(
    "response_cache_failures_total", "Commands that Redis did not answer in time or at all"
)
cache_commands = Labelled(
    Histogram(
        "redis_command_duration_seconds",
        "Time of one command to Redis, failed ones included",
        ("command",),
        buckets=_COMMANDS,
    ),
    COMMANDS,
)

# --- the database

db_query_count = Histogram(
    "db_query_count",
    "SQL statements of one GraphQL request that was not answered by its bytes",
    buckets=_COUNTS,
)
db_statement_duration = Histogram(
    "db_statement_duration_seconds", "Time of one SQL statement", buckets=_DURATIONS
)
db_slow_statements = Counter("db_slow_statements_total", "Statements over the slow threshold")
db_repeated_statements = Counter(
    "db_repeated_statements_total", "Requests that repeated one statement too often (N+1)"
)
db_retries = Labelled(
    Counter("db_retries_total", "Statements and transactions repeated, by reason", ("reason",)),
    REPEATED,
)
db_pool = Labelled(
    Gauge(
        "db_pool_connections",
        "Connections of all workers: open, in use, the most there may be; requests waiting for one",
        ("database", "state"),
        multiprocess_mode="livesum",
    ),
    None,
    POOL_STATES,
)
db_pool_wait = Labelled(
    Histogram(
        "db_pool_wait_seconds",
        "Time a request waited for a connection",
        ("database",),
        buckets=_DURATIONS,
    ),
    None,
)

# --- read replicas

READ_SOURCES = ("primary", "replica")
READ_REASONS = (
    "replica",  # a replica that has what the viewer wrote
    "none",  # no replica is well
    "behind",  # the replica picked has not replayed what the viewer wrote
    "unknown",  # Redis cannot tell what the viewer wrote
    "failed",  # a replica failed in the middle of a query, the primary took over
)
db_reads = Labelled(
    Counter(
        "db_query_reads_total",
        "Reading of GraphQL queries where there are replicas, and why from there",
        ("source", "reason"),
    ),
    READ_SOURCES,
    READ_REASONS,
)
db_replica_lag = Labelled(
    Gauge(
        "db_replica_lag_seconds",
        "How far a replica is behind",
        ("replica",),
        multiprocess_mode="livemax",
    ),
    None,
)
db_replica_in_use = Labelled(
    Gauge(
        "db_replica_in_use",
        "Whether a replica is read from",
        ("replica",),
        multiprocess_mode="livemin",
    ),
    None,
)
