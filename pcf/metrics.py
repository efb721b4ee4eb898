"""Every metric that the engine exports, in one place.

Labels come from closed sets that are written down here; a label is never a user, an id, or a text
that a client chose. ``bounded`` maps what is not in its set to ``other``.
"""

from prometheus_client import Counter, Gauge, Histogram

OPERATION_TYPES = ("query", "mutation", "subscription", "none")
COMPLEXITY_BUCKETS = ("simple", "moderate", "complex", "none")
OUTCOMES = ("ok", "error", "partial")

SIMPLE_COMPLEXITY = 10
MODERATE_COMPLEXITY = 50

# seconds; the SLO is 200 ms, the HTTP limit 30 s
_DURATIONS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0,
)  # fmt: skip
_COUNTS = (0, 1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 50, 100)
_BYTES = (256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304)
_BATCHES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)


def complexity_bucket(complexity: int | None) -> str:
    """``simple`` (0-10 selected fields), ``moderate`` (11-50) or ``complex``; ``none`` for None."""
    if complexity is None:
        return "none"
    if complexity <= SIMPLE_COMPLEXITY:
        return "simple"
    return "moderate" if complexity <= MODERATE_COMPLEXITY else "complex"


def bounded(value: str, allowed: tuple[str, ...]) -> str:
    """``value`` when it is one of ``allowed``, else ``other``: keeps a label's set closed."""
    return value if value in allowed else "other"


request_duration = Histogram(
    "graphql_request_duration_seconds",
    "Time to answer a GraphQL request",
    ("operation_type", "complexity_bucket"),
    buckets=_DURATIONS,
)
request_errors = Counter(
    "graphql_errors_total", "Errors in GraphQL responses by extensions.code", ("code",)
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
    "list_depth",
    "rate",
    "repeats",
    "response",
    "root_fields",
    "tokens",
    "value_depth",
    "variables_bytes",
    "variables_depth",
)
limit_refusals = Counter(
    "graphql_limit_refusals_total", "Requests that went beyond a limit, by limit", ("limit",)
)
http_responses = Counter("graphql_http_responses_total", "GraphQL responses by status", ("status",))

loader_batch_size = Histogram(
    "dataloader_batch_size", "Keys in one batch of a loader", ("loader",), buckets=_BATCHES
)
loader_loads = Counter("dataloader_loads_total", "Keys asked of a loader", ("loader",))
loader_batches = Counter("dataloader_batches_total", "Batches a loader dispatched", ("loader",))

PLAN_FALLBACKS = (
    "middleware",
    "context_class",
    "is_awaitable",
    "condition",
    "root_type",
    "recursion",
)
plan_fallbacks = Counter(
    "plan_fallbacks_total",
    "Operations run without a plan, by what could not be compiled",
    ("reason",),
)

cache_hits = Counter("response_cache_hits_total", "Responses served from the cache")
cache_misses = Counter("response_cache_misses_total", "Responses not found in the cache")
cache_bypasses = Counter(
    "response_cache_bypasses_total", "Requests that went past the cache", ("reason",)
)
cache_stores = Counter("response_cache_stores_total", "Responses stored")
cache_refusals = Counter("response_cache_refused_stores_total", "Responses not stored", ("reason",))
cache_invalidations = Counter(
    "response_cache_invalidations_total", "Dependencies advanced by writes", ("kind",)
)
cache_body_bytes = Histogram(
    "response_cache_body_bytes", "Size of stored responses", ("coding",), buckets=_BYTES
)
cache_flights = Counter(
    "response_cache_flights_total",
    "Misses that found the same request on its way: served by it, or executed after all",
    ("outcome",),
)
cache_failures = Counter(
    "response_cache_failures_total", "Commands that Redis did not answer in time or at all"
)

db_query_count = Histogram(
    "db_query_count", "SQL statements of one GraphQL request", buckets=_COUNTS
)
db_statement_duration = Histogram(
    "db_statement_duration_seconds", "Time of one SQL statement", buckets=_DURATIONS
)
db_slow_statements = Counter("db_slow_statements_total", "Statements over the slow threshold")
db_retries = Counter("db_retries_total", "Statements repeated after a fault", ("reason",))
db_pool = Gauge(
    "db_pool_connections",
    "Connections of the process's pool",
    ("state",),
    multiprocess_mode="livesum",
)

timeouts = Counter("timeouts_total", "Deadlines reached by layer", ("layer",))
documents = Counter("documents_total", "Documents by where they came from", ("outcome",))
