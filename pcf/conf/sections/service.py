"""Settings of loaders, the response cache, the process, the log and traces; optional features."""

from dataclasses import dataclass

from pcf.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderSettings:
    """Batching of loaders."""

    max_batch_size: int = 5_000
    """Keys in one SQL statement. A loader sends several statements for more keys."""

    def __post_init__(self) -> None:
        if self.max_batch_size < 1:
            raise ConfigError("loaders.max_batch_size must be at least 1 key")


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """The response cache in Redis."""

    enabled: bool = True
    """Whether the engine caches responses."""

    prefix: str = "pcf"
    """The beginning of every key in Redis. Services that share one Redis need different prefixes.
    Up to 10 characters keep the entries small."""

    default_ttl: int = 300
    """Seconds for which a response is fresh at most. The hint of a field may set fewer. Redis keeps
    a response for these seconds and the `stale` seconds of its hint. A write removes the responses
    that depend on it, so the seconds bound the memory, and the age of a response whose invalidation
    was lost."""

    max_body_bytes: int = 1_000_000
    """Bytes of the largest response that the engine stores."""

    max_dependencies: int = 500
    """Keys that one response may depend on. A response with more keys depends on their kinds
    instead, and every write to such a kind removes the response."""

    generation_ttl: int = 3_600
    """Seconds that Redis remembers when a key was last invalidated. Must exceed two HTTP timeouts,
    and the sum of `replicas.max_lag` and one HTTP timeout."""

    token_ttl: int = 60
    """Seconds for which the engine knows a token's viewer without SQL. Revoking a token removes the
    entry at once."""

    compress_from_bytes: int = 1_400
    """Bytes from which responses are stored compressed. Smaller responses fit into one packet."""

    remembered_requests: int = 10_000
    """Requests whose cache key a process remembers, so that the event loop can answer them."""

    flight_lease: float = 1.0
    """Seconds for which one request computes a missing response for all others. Its process renews
    the lease after each third of it. After a lease that was not renewed another request computes
    the response."""

    breaker_failures: int = 3
    """Failures of Redis in a row after which the circuit breaker opens."""

    breaker_seconds: float = 2.0
    """Seconds for which the open circuit breaker sends nothing to Redis."""

    watch_seconds: float = 0.25
    """Seconds between two looks at invalidations that other processes could not deliver."""

    lease_seconds: float = 1.0
    """Seconds for which a process trusts its last look (see `watch_seconds`). The process bypasses
    the cache afterwards. Must be at least twice `watch_seconds`."""

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
class ServerSettings:
    """One server process: its threads and its connections to clients."""

    computing: int = 2
    """Threads of a process that compute at the same time; the others wait for PostgreSQL or
    Redis."""

    greenlets: int = 4
    """Short queries that a process answers on its event loop beside each other: small ones that
    wait for PostgreSQL and Redis alone. 0 has threads answer them."""

    short_points: int = 100
    """The greatest cost of a query that counts as short, in points."""

    max_queued: int = 500
    """Requests of a process that wait for a thread. The server answers 503 to more."""

    max_connections: int = 8_000
    """Connections of a process; fewer if the system allows fewer file descriptors. A new connection
    closes the one that was idle longest."""

    max_connections_per_address: int = 2_000
    """Connections of one network address to a process. 0 removes the limit; so does a
    `rates.trusted_proxies` above 0."""

    body_silence: float = 5.0
    """Seconds that may pass between two pieces of a request's body. The server then answers 408."""

    write: float = 30.0
    """Seconds that a client may take to read an answer. The server then closes the connection."""

    max_unread_bytes: int = 256_000_000
    """Bytes of answers of a process that clients have not read yet. Above it the server closes
    connections of such clients."""

    linger: float = 2.0
    """Seconds for which the server reads on after it has closed a connection. A reset would take
    the answer from the client."""

    idle_at_end: float = 1.0
    """Seconds of silence after which a process that ends closes a connection."""

    probe: float = 1.5
    """Seconds that `/readyz` and `/health` wait for PostgreSQL and Redis."""

    def __post_init__(self) -> None:
        if min(self.computing, self.max_queued, self.max_connections, self.max_unread_bytes) < 1:
            raise ConfigError(
                "server: computing, max_queued, max_connections and max_unread_bytes must be >= 1"
            )
        if self.greenlets < 0 or self.short_points < 0:
            raise ConfigError("server: greenlets and short_points must be 0 or more")
        if self.max_connections_per_address < 0:
            raise ConfigError("server.max_connections_per_address must be 0 or more")
        seconds = (self.body_silence, self.write, self.linger, self.idle_at_end, self.probe)
        if min(seconds) <= 0:
            raise ConfigError(
                "server: body_silence, write, linger, idle_at_end and probe must be > 0 seconds"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """The log."""

    access: bool = False
    """Whether the engine logs one line for each request. With `LOG_FORMAT=json` the line has bytes,
    seconds, `Cache-Status` and statements, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSettings:
    """OpenTelemetry traces. They need the packages of requirements-otel.txt."""

    enabled: bool = False
    """Whether the engine sends traces."""

    sampled: float = 0.01
    """The share of the requests that are traced, 0 to 1."""

    def __post_init__(self) -> None:
        if not 0 <= self.sampled <= 1:
            raise ConfigError("traces.sampled must be 0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSettings:
    """Features that only some deployments want."""

    graphiql: bool = False
    """Whether every browser gets GraphiQL. Members of staff who are logged in always get it."""

    slow_query: bool = False
    """Whether the schema has the field `slowQuery`, which tries out the timeout hierarchy.
    Production refuses it."""

    demo_data: bool = False
    """Whether `seed_demo` may create a token and a password that everybody knows. Production
    refuses it."""
