"""Settings of PostgreSQL: statements, the connection pool, read replicas."""

import dataclasses
from dataclasses import dataclass

from pcf.errors import ConfigError

SPARE = 2  # connections beyond threads and greenlets, for probes and background work


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings:
    """Statements and retries."""

    slow_statement: float = 0.5
    """Seconds from which the engine logs a statement as SLOW QUERY."""

    repeated_statements: int = 10
    """Times that one request may send the same statement. The engine reports more as N+1."""

    prepared_statements: int = 100
    """Statements that each connection keeps prepared. One takes about 100 kB in PostgreSQL. 0
    prepares none."""

    one_snapshot: bool = True
    """Whether all statements of a query read one snapshot of PostgreSQL, so that an answer shows
    one moment. Without it a query with several levels takes some per cent less processor time. Its
    answer may then mix two moments, and a query whose required row goes meanwhile is repeated
    once."""

    retry_attempts: int = 3
    """Retries at most: of one read, of a whole query, or of a transaction. `pcf.database.retry` has
    their reasons."""

    backoff_initial: float = 0.05
    """Seconds before the first retry at most: the pause is a random part of them. Each further
    retry doubles the bound."""

    backoff_max: float = 1.0
    """Seconds up to which the bound grows."""

    startup_wait: float = 30.0
    """Seconds that a starting server waits for PostgreSQL. The server starts without it
    afterwards, and `/readyz` says that it is not ready."""

    shared_sessions: bool = False
    """Whether a pooler in transaction mode, such as PgBouncer, stands before PostgreSQL. The engine
    then keeps no state in a session: no prepared statements, no server-side cursors."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    """The pool of connections of one process to one PostgreSQL server (psycopg_pool)."""

    min_size: int = 1
    """Connections that the pool keeps open."""

    max_size: int = 0
    """Connections of the pool at most; at least `THREADS`. 0 stands for `THREADS` +
    `server.greenlets` + 2: one for each thread and greenlet, two for probes. PostgreSQL's
    `max_connections` must hold the pools of all processes."""

    timeout: float = 5.0
    """Seconds that a request waits for a connection."""

    max_waiting: int = 0
    """Requests that wait for a connection; the pool refuses more at once. 0 stands for four times
    the size of the pool."""

    max_lifetime: float = 1_800.0
    """Seconds after which the pool replaces a connection."""

    max_idle: float = 300.0
    """Seconds of idleness after which the pool closes a connection beyond `min_size`."""

    def __post_init__(self) -> None:
        if self.min_size < 0 or self.max_size < 0 or self.max_waiting < 0:
            raise ConfigError("pool: min_size, max_size and max_waiting must be >= 0")
        if min(self.timeout, self.max_lifetime, self.max_idle) <= 0:
            raise ConfigError("pool: timeout, max_lifetime and max_idle must be > 0 seconds")

    def sized(self, threads: int, greenlets: int = 0) -> "PoolSettings":
        """Return the settings for a process of that many threads, with every size filled in.

        Raises ConfigError when the pool is smaller than ``threads``: each thread may need a
        connection at the same time.
        """
        size = self.max_size or threads + greenlets + SPARE
        if size < threads:
            raise ConfigError(f"pool.max_size must be at least the {threads} THREADS, got {size}")
        if self.min_size > size:
            raise ConfigError(f"pool.min_size must be at most pool.max_size, {size}")
        return dataclasses.replace(self, max_size=size, max_waiting=self.max_waiting or 4 * size)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSettings:
    """Read replicas: how the engine monitors them, and when queries read from them."""

    check_interval: float = 0.5
    """Seconds between two checks of a server."""

    check_timeout: float = 0.5
    """Seconds that a server may take to answer a check. Requests wait no longer for a connection to
    a replica either; they read from the primary afterwards."""

    max_lag: float = 5.0
    """Seconds that a replica may be behind the primary. Must exceed the sum of `check_interval` and
    `check_timeout`."""

    max_lag_bytes: int = 64_000_000
    """Bytes of WAL that a replica may be behind the primary."""

    def __post_init__(self) -> None:
        if min(self.check_interval, self.check_timeout) <= 0:
            raise ConfigError("replicas: check_interval and check_timeout must be > 0 seconds")
        if self.max_lag <= 0 or self.max_lag_bytes < 0:
            raise ConfigError("replicas: max_lag must be > 0 seconds and max_lag_bytes >= 0 bytes")
        if self.max_lag <= self.check_interval + self.check_timeout:
            # the result of a check would be older than the lag that it has to exclude
            raise ConfigError(
                "replicas.max_lag must be over check_interval + check_timeout seconds"
            )
