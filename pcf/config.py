"""Every knob of the engine: typed, with its unit and default.

``settings/`` builds one ``Config`` from the environment and puts it into ``settings.PCF``; the
engine reads it through ``pcf.apps.config()``.
"""

import dataclasses
import re
from dataclasses import dataclass, field, fields

ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:]+\](:[0-9]{1,5})?")
TOKEN = re.compile(r"[0-9A-Za-z!#$%&'*+.^_`|~-]+")  # RFC 9110 section 5.6.2


class ConfigError(ValueError):
    """Settings that cannot work, or cannot work together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """The timeout hierarchy, outermost first; every value in seconds."""

    http: float = 30.0
    graphql: float = 25.0
    database: float = 20.0
    head: float = 10.0  # that a client has to send a request's line and headers
    cache: float = 0.25  # one command to Redis, its connection included
    reserve_http: float = 0.1  # what HTTP keeps of its time to answer in: GraphQL ends earlier
    reserve_graphql: float = 0.1  # what GraphQL keeps to complete the other fields in
    reserve: float = 0.1  # what any other layer keeps for itself
    min_database_budget: float = 1.0  # with less than this left no database work is begun

    def __post_init__(self) -> None:
        if not self.http > self.graphql > self.database > 0:
            message = (
                "timeouts must satisfy http > graphql > database > 0 seconds, "
                f"got {self.http:g} > {self.graphql:g} > {self.database:g}"
            )
            raise ConfigError(message)
        if not 0 < self.cache < self.graphql:
            raise ConfigError("timeouts.cache must lie between 0 and timeouts.graphql seconds")
        if not 0 <= self.min_database_budget < self.graphql:
            raise ConfigError("timeouts.min_database_budget must be 0 to timeouts.graphql seconds")
        if not 0 <= self.reserve_http < self.http - self.graphql:
            raise ConfigError("timeouts.reserve_http must be 0 to timeouts.http - graphql seconds")
        if not 0 <= self.reserve_graphql < self.graphql - self.database:
            message = "timeouts.reserve_graphql must be 0 to timeouts.graphql - database seconds"
            raise ConfigError(message)
        if self.reserve < 0 or self.head <= 0:
            raise ConfigError("timeouts: reserve >= 0 and head > 0 seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaders:
    """Batching."""

    max_batch_size: int = 5_000  # keys in one statement

    def __post_init__(self) -> None:
        if self.max_batch_size < 1:
            raise ConfigError("loaders.max_batch_size must be at least 1 key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """The response cache."""

    enabled: bool = True
    prefix: str = "pcf"  # of every key in Redis
    default_ttl: int = 300  # seconds
    max_body_bytes: int = 4_000_000  # larger responses are not stored
    max_dependencies: int = 500  # more than this fall back to one dependency per kind
    generation_ttl: int = 3_600  # seconds; must outlive every request
    token_ttl: int = 60  # seconds a token's viewer is remembered
    compress_from_bytes: int = 1_400  # smaller responses fit into one packet as they are
    remembered_requests: int = 10_000  # requests whose digest a process knows without reading them
    flight_lease: float = 1.0  # seconds after which a flight that was not renewed is given up
    breaker_failures: int = 3  # failures in a row until Redis is left alone
    breaker_seconds: float = 2.0  # how long it is left alone
    watch_seconds: float = 0.25  # between two looks at what other processes could not deliver
    lease_seconds: float = 1.0  # how long what the last look saw is trusted

    def __post_init__(self) -> None:
        if self.default_ttl < 0 or self.token_ttl < 1:
            raise ConfigError("cache.default_ttl must be >= 0 and cache.token_ttl >= 1 seconds")
        if min(self.max_dependencies, self.max_body_bytes, self.breaker_failures) < 1:
            raise ConfigError("cache limits must be at least 1")
        if self.compress_from_bytes < 1 or self.remembered_requests < 1:
            raise ConfigError("cache: compress_from_bytes and remembered_requests must be >= 1")
        if self.flight_lease <= 0:
            raise ConfigError("cache.flight_lease must be more than 0 seconds")
        if self.breaker_seconds < 0 or not self.prefix:
            raise ConfigError("cache: breaker_seconds >= 0, prefix not empty")
        if not 0 < 2 * self.watch_seconds <= self.lease_seconds:
            raise ConfigError("cache: 0 < 2 * watch_seconds <= lease_seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """Limits of a document, in the order in which they are checked, and how many are remembered.

    Depth, complexity, lists and cost count fragments wherever they are spread.
    """

    remembered: int = 1_000  # documents in the in-process LRU
    max_body_bytes: int = 1_000_000  # of an HTTP request
    max_characters: int = 15_000
    max_tokens: int = 500  # and comments
    max_directives: int = 30
    max_aliases: int = 30
    max_fragments: int = 30
    max_variables: int = 30  # names of variables
    max_unknown_names: int = 100  # that the schema does not have; aliases, fragments are some, too
    max_value_depth: int = 10  # lists and objects within each other in one argument
    max_depth: int = 15  # fields within each other
    max_complexity: int = 1_000  # selected fields of all operations
    max_repeats: int = 20  # times that one field may be selected at one place
    max_root_fields: int = 20
    max_list_depth: int = 6  # fields that are lists within each other
    introspection: bool = True
    max_introspection_depth: int = 2  # lists of the schema within each other
    suggestions: bool = True  # "Did you mean ...?" in messages: names of the schema
    max_cost: int = 1_000  # points: statements and rows, see pcf.documents.cost
    rows_per_point: int = 100
    assumed_list_size: int = 10  # rows of a list without pages that declares no size
    max_items: int = 100_000  # of all lists of one response together

    def __post_init__(self) -> None:
        for knob in fields(self):
            value = getattr(self, knob.name)
            if knob.type is int and value < 1:
                raise ConfigError(f"documents.{knob.name} must be at least 1, got {value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """Limits of one HTTP request and of its answer, and who may ask from a browser."""

    max_variables_bytes: int = 500_000  # of the JSON of all variables of a request
    max_variables_depth: int = 32  # lists and objects within each other; "variables" is the first
    max_batch: int = 0  # requests in one body; 0 switches batching off
    max_response_bytes: int = 10_000_000  # of the JSON of one answer
    max_concurrent: int = 6  # of one client being executed in one process; 0: any number
    cors_origins: tuple[str, ...] = ()  # e.g. https://app.example.org; "*" for every origin
    cors_headers: tuple[str, ...] = ()  # that pages may send as well; "*" for every header
    cors_max_age: int = 7_200  # seconds that a browser remembers a preflight

    def __post_init__(self) -> None:
        limits = (self.max_variables_bytes, self.max_variables_depth, self.max_response_bytes)
        if min(limits) < 1 or min(self.max_batch, self.max_concurrent, self.cors_max_age) < 0:
            raise ConfigError(
                "limits of requests must be at least 1; max_batch, max_concurrent, ages 0 or more"
            )
        for origin in self.cors_origins:
            if origin != "*" and not ORIGIN.fullmatch(origin):
                raise ConfigError(
                    f"requests.cors_origins: {origin!r} is no origin such as https://example.org"
                )
        for name in self.cors_headers:
            if not TOKEN.fullmatch(name):
                raise ConfigError(
                    f"requests.cors_headers: {name!r} is no name of a header such as X-Tenant"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One process: its threads, and what its clients may keep of it."""

    computing: int = 2  # threads that compute at once, of THREADS
    max_queued: int = 500  # requests that wait for a thread; more get 503
    max_connections: int = 8_000  # at once; fewer where the system allows fewer file descriptors
    max_connections_per_address: int = 2_000  # at once; 0 and behind proxies: any number
    body_silence: float = 5.0  # seconds between two pieces of a request's body
    write: float = 30.0  # seconds that a client has to take an answer
    max_unread_bytes: int = 256_000_000  # of answers that no client has taken yet
    linger: float = 2.0  # seconds for which a closed connection reads on: a reset loses the answer
    idle_at_end: float = 1.0  # seconds of silence before a process that ends closes a connection
    probe: float = 1.5  # seconds that /readyz and /health wait for PostgreSQL and Redis

    def __post_init__(self) -> None:
        if min(self.computing, self.max_queued, self.max_connections, self.max_unread_bytes) < 1:
            raise ConfigError(
                "server: computing, max_queued, max_connections and max_unread_bytes must be >= 1"
            )
        if self.max_connections_per_address < 0:
            raise ConfigError("server.max_connections_per_address must be 0 or more")
        seconds = (self.body_silence, self.write, self.linger, self.idle_at_end, self.probe)
        if min(seconds) <= 0:
            raise ConfigError(
                "server: body_silence, write, linger, idle_at_end and probe must be > 0 seconds"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """How much one client may have executed: token buckets of points of cost in Redis.

    A client is the viewer, or for anonymous requests the network address.
    """

    enabled: bool = True
    viewer_points: float = 200.0  # a second
    viewer_burst: int = 5_000  # points that a bucket holds
    address_points: float = 100.0  # a second
    address_burst: int = 3_000
    wrong_token: int = 10  # points that a token costs which is not valid
    fail_open: bool = True  # without Redis everything is let through; else nothing is executed
    trusted_proxies: int = 0  # in front of the service that add to X-Forwarded-For

    def __post_init__(self) -> None:
        if not (self.viewer_points > 0 and self.address_points > 0):
            raise ConfigError("rates: points a second must be more than 0")
        if min(self.viewer_burst, self.address_burst, self.wrong_token) < 1:
            raise ConfigError("rates: bursts and wrong_token must be at least 1 point")
        if self.trusted_proxies < 0:
            raise ConfigError("rates.trusted_proxies must be 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Persisted:
    """Documents that requests name instead of sending them."""

    mode: str = "automatic"  # off, automatic (clients register them), only (those of the manifest)
    manifest: str = ""  # path of a file with the trusted documents
    ttl: int = 86_400  # seconds since its last use that a registered document is kept in Redis
    max_documents: int = 10_000  # registered ones in Redis

    def __post_init__(self) -> None:
        if self.mode not in {"off", "automatic", "only"}:
            raise ConfigError(f"persisted.mode must be off, automatic or only, got {self.mode!r}")
        if self.mode == "only" and not self.manifest:
            raise ConfigError("persisted.mode=only needs persisted.manifest")
        if min(self.ttl, self.max_documents) < 1:
            raise ConfigError("persisted: ttl and max_documents must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """Statements and retries."""

    slow_statement: float = 0.5  # seconds from which a statement is logged as SLOW QUERY
    repeated_statements: int = 10  # times one request may send a statement before it is an N+1
    prepared_statements: int = 100  # that each connection keeps; 0: none is prepared
    retry_attempts: int = 3  # of an idempotent read after a lost connection
    backoff_initial: float = 0.05  # seconds before the first retry, doubled every time
    backoff_max: float = 1.0  # seconds
    startup_wait: float = 30.0  # seconds that a starting server waits for PostgreSQL
    shared_sessions: bool = False  # behind a pooler in transaction mode (PgBouncer)

    def __post_init__(self) -> None:
        if self.slow_statement < 0:
            raise ConfigError("database.slow_statement must be >= 0 seconds")
        if self.repeated_statements < 1:
            raise ConfigError("database.repeated_statements must be at least 1")
        if self.prepared_statements < 0:
            raise ConfigError("database.prepared_statements must be at least 0")
        if self.retry_attempts < 0 or not 0 < self.backoff_initial <= self.backoff_max:
            raise ConfigError("database: retry_attempts >= 0, 0 < backoff_initial <= backoff_max")
        if self.startup_wait < 0:
            raise ConfigError("database.startup_wait must be >= 0 seconds")


SPARE = 2  # connections beyond the threads: for what runs beside requests


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Connections to PostgreSQL, of one process."""

    min_size: int = 1  # connections kept open
    max_size: int = 0  # connections; 0 stands for the threads of a process and SPARE more
    timeout: float = 5.0  # seconds that a request waits for a connection
    max_waiting: int = 0  # requests; more are refused at once. 0 stands for 4 a connection
    max_lifetime: float = 1_800.0  # seconds after which a connection is replaced
    max_idle: float = 300.0  # seconds after which one beyond min_size is closed

    def __post_init__(self) -> None:
        if self.min_size < 0 or self.max_size < 0 or self.max_waiting < 0:
            raise ConfigError("pool: min_size, max_size and max_waiting must be >= 0")
        if min(self.timeout, self.max_lifetime, self.max_idle) <= 0:
            raise ConfigError("pool: timeout, max_lifetime and max_idle must be > 0 seconds")

    def sized(self, threads: int) -> "Pool":
        """The pool of a process with ``threads`` threads, all numbers filled in.

        Raises ConfigError when it would starve them: each may need a connection at the same time.
        """
        size = self.max_size or threads + SPARE
        if size < threads:
            raise ConfigError(f"pool.max_size must be at least the {threads} THREADS, got {size}")
        if self.min_size > size:
            raise ConfigError(f"pool.min_size must be at most pool.max_size, {size}")
        return dataclasses.replace(self, max_size=size, max_waiting=self.max_waiting or 4 * size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Logs:
    """What is written down beside faults."""

    access: bool = False  # one line a request


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicas:
    """Read replicas: how they are watched, and until when queries read from them."""

    check_interval: float = 0.5  # seconds between two looks at a server
    check_timeout: float = 0.5  # seconds a server has to answer a look
    max_lag: float = 5.0  # seconds a replica may be behind
    max_lag_bytes: int = 64_000_000  # bytes of WAL a replica may be behind

    def __post_init__(self) -> None:
        if min(self.check_interval, self.check_timeout) <= 0:
            raise ConfigError("replicas: check_interval and check_timeout must be > 0 seconds")
        if self.max_lag <= 0 or self.max_lag_bytes < 0:
            raise ConfigError("replicas: max_lag must be > 0 seconds and max_lag_bytes >= 0 bytes")
        if self.max_lag <= self.check_interval + self.check_timeout:  # what is known would be older
            raise ConfigError(
                "replicas.max_lag must be over check_interval + check_timeout seconds"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """OpenTelemetry; needs requirements-otel.txt."""

    enabled: bool = False
    sampled: float = 0.01  # share of the requests that are traced, 0 to 1

    def __post_init__(self) -> None:
        if not 0 <= self.sampled <= 1:
            raise ConfigError("traces.sampled must be 0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What only some deployments want."""

    graphiql: bool = False  # for every browser; members of staff who are logged in get it anyway
    slow_query: bool = False  # the field slowQuery, for trying out the timeout hierarchy
    demo_data: bool = False  # seed_demo may create users, a token and a log-in that all can guess


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All of the engine's settings."""

    timeouts: Timeouts = field(default_factory=Timeouts)
    loaders: Loaders = field(default_factory=Loaders)
    cache: Cache = field(default_factory=Cache)
    documents: Documents = field(default_factory=Documents)
    requests: Requests = field(default_factory=Requests)
    server: Server = field(default_factory=Server)
    rates: Rates = field(default_factory=Rates)
    persisted: Persisted = field(default_factory=Persisted)
    database: Database = field(default_factory=Database)
    logs: Logs = field(default_factory=Logs)
    traces: Traces = field(default_factory=Traces)
    pool: Pool = field(default_factory=Pool)
    replicas: Replicas = field(default_factory=Replicas)
    features: Features = field(default_factory=Features)

    def __post_init__(self) -> None:
        if self.cache.generation_ttl <= 2 * self.timeouts.http:
            raise ConfigError("cache.generation_ttl must be longer than two HTTP timeouts")
        most = min(self.rates.viewer_burst, self.rates.address_burst)
        if self.rates.enabled and most < self.documents.max_cost:
            raise ConfigError("rates: a bucket must hold documents.max_cost points at least")
        if self.cache.generation_ttl <= self.replicas.max_lag + self.timeouts.http:
            raise ConfigError("cache.generation_ttl must outlive replicas.max_lag and a request")
