"""Settings of a request's way through the engine: timeouts, documents, limits of clients."""

import re
from dataclasses import dataclass, fields

from pcf.errors import ConfigError

ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:]+\](:[0-9]{1,5})?")
TOKEN = re.compile(r"[0-9A-Za-z!#$%&'*+.^_`|~-]+")  # RFC 9110 section 5.6.2


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeoutSettings:
    """The timeout hierarchy. Every value is in seconds; each layer ends before the one outside."""

    http: float = 30.0
    """Seconds that an HTTP request may take; the server then answers 504. Must exceed `graphql`.
    Raise it for long exports, and raise the timeout of the proxy in front as well."""

    graphql: float = 25.0
    """Seconds that the execution of one operation may take. Must exceed `database`."""

    database: float = 20.0
    """Seconds that one SQL statement may take, and less when less is left of the request.
    PostgreSQL cancels the statement afterwards. Lower it to protect PostgreSQL."""

    head: float = 10.0
    """Seconds that a client may take to send the request line and the headers. The server then
    closes the connection. The TLS handshake has the same limit."""

    cache: float = 0.25
    """Seconds that one command to Redis may take, including the connection. PostgreSQL answers the
    request afterwards. Raise it only if Redis is far away."""

    reserve_http: float = 0.1
    """Seconds that HTTP keeps to send its answer. GraphQL ends that much earlier."""

    reserve_graphql: float = 0.1
    """Seconds that GraphQL keeps to complete the other fields after a field timed out."""

    reserve: float = 0.1
    """Seconds that every other layer keeps for itself."""

    min_database_budget: float = 1.0
    """Seconds that must be left of a request before it begins work in the database. With less, the
    request fails at once instead of starting a statement that PostgreSQL has to cancel. A tenth of
    a shorter limit is enough, so a client may ask for less time than this."""

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
class DocumentSettings:
    """Limits of a GraphQL document, in the order in which the engine checks them.

    The engine counts the text up to `max_value_depth`, then parses it, and then measures the rest.
    A coarse check of depth and repetitions precedes the parsing, too. Depth, complexity, lists and
    cost count a fragment at every place that spreads it. Raise a limit only for a document of your
    own that needs it.
    """

    remembered: int = 1_000
    """Documents that a process keeps parsed and validated, at the most. The process drops the least
    recently used ones. One document takes about 25 kB, and all of them take 20 MiB at the most."""

    max_body_bytes: int = 1_000_000
    """Bytes of the body of an HTTP request."""

    max_characters: int = 15_000
    """Characters of a document."""

    max_tokens: int = 500
    """Tokens of a document; comments count as tokens."""

    max_directives: int = 30
    """Directives in a document."""

    max_variables: int = 30
    """Different names of variables in a document."""

    max_aliases: int = 30
    """Aliases in a document."""

    max_fragments: int = 30
    """Fragments in a document."""

    max_unknown_names: int = 100
    """Names in a document that the schema does not have. Aliases and fragments are such names."""

    max_value_depth: int = 10
    """Levels of lists and objects in one argument."""

    max_depth: int = 15
    """Levels of fields."""

    max_complexity: int = 1_000
    """Selected fields of all operations of a document together."""

    max_repeats: int = 20
    """Times that a document may select one field at one place."""

    max_root_fields: int = 20
    """Root fields of an operation."""

    max_list_depth: int = 6
    """Levels of fields that are lists."""

    introspection: bool = True
    """Whether clients may ask for the schema. Production switches it off."""

    max_introspection_depth: int = 2
    """Levels of lists in an introspection query."""

    suggestions: bool = True
    """Whether messages say "Did you mean ...?", which tells names of the schema. Production
    switches it off."""

    max_cost: int = 1_000
    """Points that one operation may cost. The engine estimates statements and rows before it
    executes the operation (`pcf.documents.cost`)."""

    rows_per_point: int = 100
    """Rows that cost one point."""

    bytes_per_point: int = 10_000
    """Bytes of names in a response that cost one point, and bytes of variables. The rows or the
    names of a response count, whichever cost more."""

    assumed_list_size: int = 10
    """Rows that the cost counts for a list that has neither pages nor a declared size."""

    max_items: int = 100_000
    """Items of all lists of one response together."""

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            if setting.type is int and value < 1:
                raise ConfigError(f"documents.{setting.name} must be at least 1, got {value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSettings:
    """Limits of one HTTP request and of its answer, and the browsers that may send requests."""

    max_variables_bytes: int = 500_000
    """Bytes of the JSON of all variables of a request."""

    max_variable_values: int = 5_000
    """Values of all variables of a request together: members of objects and items of lists."""

    max_variables_depth: int = 32
    """Levels of lists and objects in the variables; the object `variables` is the first level."""

    max_batch: int = 0
    """Requests in one body, a JSON array. 0 refuses every array."""

    max_response_bytes: int = 10_000_000
    """Bytes of the JSON of one answer."""

    max_concurrent: int = 6
    """Requests of one client that one process executes at the same time. 0 removes the limit, and
    that of `max_concurrent_cost`."""

    max_concurrent_cost: int = 1_000
    """Points of one client's requests that one process executes at the same time. One request alone
    may cost more."""

    idempotency_ttl: float = 86_400.0
    """Seconds for which the answer to a mutation with an `Idempotency-Key` is kept. The command
    `purge_idempotency_keys` deletes older ones."""

    session_cookie: str = ""
    """Name of the cookie that may hold a token in place of the header `Authorization`. Browsers
    keep a cookie whose name begins with `__Host-` for HTTPS and for one host alone. Empty: the
    engine ignores cookies. This project sets `pcf_session` in development and `__Host-session` in
    production."""

    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may send requests, such as `https://app.example.org`, between commas.
    `*` allows every origin."""

    cors_headers: tuple[str, ...] = ()
    """Headers that pages of these origins may send besides the usual ones, between commas. `*`
    allows every header."""

    cors_max_age: int = 7_200
    """Seconds for which a browser remembers the answer to a preflight request."""

    def __post_init__(self) -> None:
        limits = (
            self.max_variables_bytes,
            self.max_variable_values,
            self.max_variables_depth,
            self.max_response_bytes,
            self.max_concurrent_cost,
        )
        if min(limits) < 1 or min(self.max_batch, self.max_concurrent, self.cors_max_age) < 0:
            raise ConfigError(
                "limits of requests must be at least 1; max_batch, max_concurrent and cors_max_age "
                "must be 0 or more"
            )
        if self.idempotency_ttl <= 0:
            raise ConfigError("requests.idempotency_ttl must be more than 0 seconds")
        if self.session_cookie and not TOKEN.fullmatch(self.session_cookie):
            raise ConfigError(
                f"requests.session_cookie: {self.session_cookie!r} is no name of a cookie"
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
class RateSettings:
    """Token buckets in Redis that limit how many points of cost one client may spend.

    A client is a viewer. All anonymous requests from one network address are one client.
    """

    enabled: bool = True
    """Whether the engine limits rates. Development switches it off."""

    viewer_points: float = 200.0
    """Points a second that a viewer's bucket gains."""

    viewer_burst: int = 5_000
    """Points that a viewer's bucket holds at most. Must be at least `documents.max_cost`."""

    address_points: float = 100.0
    """Points a second that an address's bucket gains."""

    address_burst: int = 3_000
    """Points that an address's bucket holds at most. Must be at least `documents.max_cost`."""

    wrong_token: int = 10
    """Points that a request with an invalid token costs its address."""

    store_share: float = 0.05
    """The share of Redis's memory that stored responses to one client may take, more than 0 to 1. 1
    sets no limit. Raise it where few clients, such as servers of your own, send all requests."""

    fail_open: bool = True
    """Whether the engine executes requests while Redis does not answer. With `false` it refuses
    them."""

    trusted_proxies: int = 0
    """Proxies in front of the service that add to `X-Forwarded-For`. The engine takes the client's
    address from there. Production expects 1. A number above 0 also removes the limit of connections
    of one address."""

    def __post_init__(self) -> None:
        if not (self.viewer_points > 0 and self.address_points > 0):
            raise ConfigError("rates: points a second must be more than 0")
        if min(self.viewer_burst, self.address_burst, self.wrong_token) < 1:
            raise ConfigError("rates: bursts and wrong_token must be at least 1 point")
        if not 0 < self.store_share <= 1:
            raise ConfigError("rates.store_share must be more than 0, and 1 at most")
        if self.trusted_proxies < 0:
            raise ConfigError("rates.trusted_proxies must be 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class PersistedSettings:
    """Persisted documents: a request sends the id of a document instead of its text."""

    mode: str = "automatic"
    """`off` refuses ids. `automatic` lets clients register documents. `only` accepts the documents
    of the manifest and refuses all others."""

    manifest: str = ""
    """The path of a file with the trusted documents. `only` needs it."""

    ttl: int = 86_400
    """Seconds that Redis keeps a registered document after its last use."""

    max_documents: int = 10_000
    """Registered documents that Redis keeps at most."""

    max_bytes: int = 10_000_000
    """Bytes of all registered documents that Redis keeps at most. Beyond it, Redis drops those that
    no client has used for the longest time."""

    max_client_bytes: int = 1_000_000
    """Bytes of documents that one client may register within `ttl`."""

    def __post_init__(self) -> None:
        if self.mode not in {"off", "automatic", "only"}:
            raise ConfigError(f"persisted.mode must be off, automatic or only, got {self.mode!r}")
        if self.mode == "only" and not self.manifest:
            raise ConfigError("persisted.mode=only needs persisted.manifest")
        if min(self.ttl, self.max_documents, self.max_bytes, self.max_client_bytes) < 1:
            raise ConfigError("persisted: ttl and the limits must be at least 1")
