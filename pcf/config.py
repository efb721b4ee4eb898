"""Every knob of the engine: typed, with its unit and default.

``settings/`` builds one ``Config`` from the environment and puts it into ``settings.PCF``; the
engine reads it through ``pcf.apps.config()``.
"""

import re
from dataclasses import dataclass, field

ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:]+\](:[0-9]{1,5})?")


class ConfigError(ValueError):
    """Settings that cannot work, or cannot work together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """The timeout hierarchy, outermost first; every value in seconds."""

    http: float = 30.0
    graphql: float = 25.0
    database: float = 20.0
    cache: float = 0.25  # one command to Redis, its connection included
    reserve: float = 0.1  # what an inner layer leaves its outer layer to answer in
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
        if not 0 <= self.reserve < self.http - self.graphql:
            raise ConfigError("timeouts.reserve must be 0 to timeouts.http - graphql seconds")


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
    breaker_failures: int = 3  # failures in a row until Redis is left alone
    breaker_seconds: float = 2.0  # how long it is left alone

    def __post_init__(self) -> None:
        if self.default_ttl < 0 or self.token_ttl < 1:
            raise ConfigError("cache.default_ttl must be >= 0 and cache.token_ttl >= 1 seconds")
        if min(self.max_dependencies, self.max_body_bytes, self.breaker_failures) < 1:
            raise ConfigError("cache limits must be at least 1")
        if self.breaker_seconds < 0 or not self.prefix:
            raise ConfigError("cache: breaker_seconds >= 0, prefix not empty")


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """Limits of a document, and how many documents a process remembers."""

    remembered: int = 1_000  # documents in the in-process LRU
    max_body_bytes: int = 1_000_000  # of an HTTP request
    max_tokens: int = 5_000
    max_depth: int = 15
    max_complexity: int = 1_000  # selected fields, fragments expanded
    max_items: int = 100_000  # of all lists of one response together
    introspection: bool = True

    def __post_init__(self) -> None:
        limits = (self.remembered, self.max_tokens, self.max_depth, self.max_complexity)
        if min(*limits, self.max_body_bytes, self.max_items) < 1:
            raise ConfigError("limits of documents must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """Limits of one HTTP request and of its answer, and who may ask from a browser."""

    max_variables_bytes: int = 100_000  # of the JSON of all variables of a request
    max_variables_depth: int = 32  # lists and objects within each other; "variables" is the first
    max_batch: int = 0  # requests in one body; 0 switches batching off
    max_response_bytes: int = 10_000_000  # of the JSON of one answer
    cors_origins: tuple[str, ...] = ()  # e.g. https://app.example.org; "*" for every origin
    cors_max_age: int = 7_200  # seconds that a browser remembers a preflight

    def __post_init__(self) -> None:
        limits = (self.max_variables_bytes, self.max_variables_depth, self.max_response_bytes)
        if min(limits) < 1 or min(self.max_batch, self.cors_max_age) < 0:
            raise ConfigError("limits of requests must be at least 1; max_batch and ages 0 or more")
        for origin in self.cors_origins:
            if origin != "*" and not ORIGIN.fullmatch(origin):
                raise ConfigError(
                    f"requests.cors_origins: {origin!r} is no origin such as https://example.org"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """Statements, retries and the pool."""

    slow_statement: float = 0.5  # seconds from which a statement is logged as SLOW QUERY
    retry_attempts: int = 3  # of an idempotent read after a lost connection
    backoff_initial: float = 0.05  # seconds before the first retry, doubled every time
    backoff_max: float = 1.0  # seconds

    def __post_init__(self) -> None:
        if self.slow_statement < 0:
            raise ConfigError("database.slow_statement must be >= 0 seconds")
        if self.retry_attempts < 0 or not 0 < self.backoff_initial <= self.backoff_max:
            raise ConfigError("database: retry_attempts >= 0, 0 < backoff_initial <= backoff_max")


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicas:
    """Read replicas: how they are watched, and until when queries read from them."""

    check_interval: float = 1.0  # seconds between two looks at a server
    check_timeout: float = 1.0  # seconds a server has to answer a look
    max_lag: float = 5.0  # seconds a replica may be behind
    max_lag_bytes: int = 64_000_000  # bytes of WAL a replica may be behind

    def __post_init__(self) -> None:
        if min(self.check_interval, self.check_timeout) <= 0:
            raise ConfigError("replicas: check_interval and check_timeout must be > 0 seconds")
        if self.max_lag <= 0 or self.max_lag_bytes < 0:
            raise ConfigError("replicas: max_lag must be > 0 seconds and max_lag_bytes >= 0 bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What only some deployments want."""

    graphiql: bool = False
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
    database: Database = field(default_factory=Database)
    replicas: Replicas = field(default_factory=Replicas)
    features: Features = field(default_factory=Features)

    def __post_init__(self) -> None:
        if self.cache.generation_ttl <= 2 * self.timeouts.http:
            raise ConfigError("cache.generation_ttl must be longer than two HTTP timeouts")
        if self.cache.generation_ttl <= self.replicas.max_lag + self.timeouts.http:
            raise ConfigError("cache.generation_ttl must outlive replicas.max_lag and a request")
