"""The engine's typed settings, one dataclass a section.

``settings.PCF`` holds one ``Config``, which ``pcf.conf.environment`` builds from the environment.
The engine reads it through ``pcf.conf.config()``. The string below a field documents the field;
``manage.py settings_reference`` makes docs/reference/settings.md from these strings.
"""

from dataclasses import dataclass, field

from pcf.conf.sections.database import DatabaseSettings, PoolSettings, ReplicaSettings
from pcf.conf.sections.requests import (
    DocumentSettings,
    PersistedSettings,
    RateSettings,
    RequestSettings,
    TimeoutSettings,
)
from pcf.conf.sections.service import (
    CacheSettings,
    FeatureSettings,
    LoaderSettings,
    LogSettings,
    ServerSettings,
    TraceSettings,
)
from pcf.errors import ConfigError

__all__ = (
    "CacheSettings",
    "Config",
    "ConfigError",
    "DatabaseSettings",
    "DocumentSettings",
    "FeatureSettings",
    "LoaderSettings",
    "LogSettings",
    "PersistedSettings",
    "PoolSettings",
    "RateSettings",
    "ReplicaSettings",
    "RequestSettings",
    "ServerSettings",
    "TimeoutSettings",
    "TraceSettings",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All of the engine's settings. Raises ConfigError when two sections contradict each other."""

    timeouts: TimeoutSettings = field(default_factory=TimeoutSettings)
    documents: DocumentSettings = field(default_factory=DocumentSettings)
    requests: RequestSettings = field(default_factory=RequestSettings)
    rates: RateSettings = field(default_factory=RateSettings)
    persisted: PersistedSettings = field(default_factory=PersistedSettings)
    cache: CacheSettings = field(default_factory=CacheSettings)
    loaders: LoaderSettings = field(default_factory=LoaderSettings)
    server: ServerSettings = field(default_factory=ServerSettings)
    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    pool: PoolSettings = field(default_factory=PoolSettings)
    replicas: ReplicaSettings = field(default_factory=ReplicaSettings)
    logs: LogSettings = field(default_factory=LogSettings)
    traces: TraceSettings = field(default_factory=TraceSettings)
    features: FeatureSettings = field(default_factory=FeatureSettings)

    def __post_init__(self) -> None:
        if self.cache.generation_ttl <= 2 * self.timeouts.http:
            raise ConfigError("cache.generation_ttl must be longer than two HTTP timeouts")
        smallest = min(self.rates.viewer_burst, self.rates.address_burst)
        if self.rates.enabled and smallest < self.documents.max_cost:
            raise ConfigError("rates: a bucket must hold documents.max_cost points at least")
        if self.cache.generation_ttl <= self.replicas.max_lag + self.timeouts.http:
            raise ConfigError("cache.generation_ttl must outlive replicas.max_lag and a request")
