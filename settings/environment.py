"""Reading the environment: typed values with clear errors."""

import dataclasses
import os
from typing import Any
from urllib.parse import urlsplit

import dj_database_url
from django.core.exceptions import ImproperlyConfigured
from environs import Env, EnvError
from redis.backoff import NoBackoff
from redis.retry import Retry

from pcf.config import Config, ConfigError

env = Env()

# of scripts/dev.py, gunicorn.conf.py and the tests
OTHER_VARIABLES = (
    "PCF_SERVICES",
    "PCF_TEST_RUN_ID",
    "PCF_FUZZ_EXAMPLES",
    "PCF_METRICS_FOLDER_OF",
)


def engine_config(**sections: dict[str, Any]) -> Config:
    """The engine's configuration: defaults, then ``sections``, then ``PCF_<SECTION>_<FIELD>``.

    Raises ImproperlyConfigured when a value has the wrong type or values contradict each other.
    """
    readers: dict[Any, Any] = {
        int: env.int,
        float: env.float,
        bool: env.bool,
        str: env.str,
        tuple[str, ...]: _names,
    }
    built: dict[str, Any] = {}
    known = set(OTHER_VARIABLES)
    try:
        for section in dataclasses.fields(Config):
            section_type = section.default_factory
            values = dict(sections.get(section.name, {}))
            for knob in dataclasses.fields(section_type):  # type: ignore[arg-type]
                variable = f"PCF_{section.name}_{knob.name}".upper()
                known.add(variable)
                value = readers[knob.type](variable, None)
                if value is not None:
                    values[knob.name] = value
            built[section.name] = section_type(**values)  # type: ignore[operator]
        unknown = sorted(
            name for name in os.environ if name.startswith("PCF_") and name not in known
        )
        if unknown:
            raise ImproperlyConfigured(f"there is no setting {', '.join(unknown)}")
        return Config(**built)
    except (EnvError, ConfigError) as error:
        raise ImproperlyConfigured(str(error)) from error


def _names(variable: str, default: None) -> tuple[str, ...] | None:
    """The texts between the commas of a variable, ``default`` when it is not set."""
    values: list[str] | None = env.list(variable, default)
    return None if values is None else tuple(v.strip() for v in values if v.strip())


def database_settings(*, pool_size: int) -> dict[str, Any]:
    """``DATABASES["default"]`` from ``DATABASE_URL``, with the engine's backend and a pool.

    ``pool_size`` is the largest number of connections of one process.
    Raises ImproperlyConfigured when the address is not one of PostgreSQL.
    """
    url = env.str("DATABASE_URL", "postgres://postgres@127.0.0.1:5432/pcf")
    return _database("DATABASE_URL", url, pool_size)


def replica_settings(config: Config, *, pool_size: int) -> dict[str, dict[str, Any]]:
    """``DATABASES`` of the read replicas: ``replica-1`` and so on, from ``DATABASE_REPLICA_URLS``.

    The addresses stand between commas. A request that cannot have a connection to a replica soon
    reads from the primary, so these pools wait for ``replicas.check_timeout`` only.
    Raises ImproperlyConfigured when an address is not one of PostgreSQL.
    """
    urls: list[str] = env.list("DATABASE_REPLICA_URLS", [])
    databases = {}
    for number, url in enumerate(filter(None, map(str.strip, urls)), start=1):
        database = _database("DATABASE_REPLICA_URLS", url, pool_size)
        options = database["OPTIONS"]
        options["replica"] = True
        options["connect_timeout"] = max(1, round(config.replicas.check_timeout))
        options["pool"]["timeout"] = config.replicas.check_timeout
        database["TEST"] = {"MIRROR": "default"}
        databases[f"replica-{number}"] = database
    return databases


def _database(variable: str, url: str, pool_size: int) -> dict[str, Any]:
    if urlsplit(url).scheme not in {"postgres", "postgresql"}:
        raise ImproperlyConfigured(f"{variable} must be a postgres:// address")
    database: dict[str, Any] = dict(dj_database_url.parse(url))
    database["ENGINE"] = "pcf.database.backend"
    database["CONN_MAX_AGE"] = 0  # the pool keeps connections, not the thread
    database["CONN_HEALTH_CHECKS"] = True  # a connection is checked when it leaves the pool
    options = dict(database.get("OPTIONS") or {})
    options.setdefault("connect_timeout", 5)
    options.setdefault("application_name", "pcf")
    options["pool"] = {
        "min_size": 1,
        "max_size": pool_size,
        "timeout": 5.0,  # seconds to wait for a connection
        "max_waiting": 4 * pool_size,
        "max_lifetime": 1_800.0,
        "max_idle": 300.0,
    }
    database["OPTIONS"] = options
    return database


def redis_settings(config: Config, url: str) -> dict[str, Any]:
    """``CACHES`` for django-redis at ``url``; socket limits in seconds come from ``config``."""
    if urlsplit(url).scheme not in {"redis", "rediss", "unix"}:
        raise ImproperlyConfigured("REDIS_URL must be a redis://, rediss:// or unix:// address")
    return {
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": url,
            "KEY_PREFIX": config.cache.prefix,
            "OPTIONS": {
                "CLIENT_CLASS": "django_redis.client.DefaultClient",
                "SOCKET_CONNECT_TIMEOUT": config.timeouts.cache,
                "SOCKET_TIMEOUT": config.timeouts.cache,
                # once more at once: a kept connection may have been closed by the server
                "CONNECTION_POOL_KWARGS": {"retry": Retry(NoBackoff(), 1)},
            },
        }
    }
