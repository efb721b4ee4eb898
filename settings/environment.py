"""Reading the environment: typed values with clear errors."""

import dataclasses
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dj_database_url
from django.core.exceptions import ImproperlyConfigured
from environs import EnvError, FileAwareEnv
from redis.backoff import NoBackoff
from redis.retry import Retry

from pcf.config import Config, ConfigError

env = FileAwareEnv(strip_whitespace=True)  # NAME_FILE names a file with the value of NAME

SECRETS = ("SECRET_KEY", "DATABASE_URL", "REDIS_URL")

# of scripts/dev.py, gunicorn.conf.py and the tests
OTHER_VARIABLES = (
    "PCF_SERVICES",
    "PCF_TEST_RUN_ID",
    "PCF_FUZZ_EXAMPLES",
    "PCF_METRICS_FOLDER_OF",
)


_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}")


def whole_number(name: str, default: int, low: int, high: int) -> int:
    """The variable ``name`` as a number from ``low`` to ``high``; ``default`` when it is not set or
    empty. Raises ImproperlyConfigured for any other value.
    """
    text: str = env.str(name, "").strip()
    if not text:
        return default
    if not _WHOLE_NUMBER.fullmatch(text) or not low <= int(text) <= high:
        raise ImproperlyConfigured(
            f"{name} must be a whole number from {low} to {high}, got {text!r}"
        )
    return int(text)


def check_secret_files() -> None:
    """Raises ImproperlyConfigured for ``NAME_FILE`` that cannot be read, or stands beside ``NAME``.

    Of two values one would have to win, and a rotation would change the other.
    """
    for name in SECRETS:
        path = os.environ.get(f"{name}_FILE")
        if not path:
            continue
        if os.environ.get(name):
            raise ImproperlyConfigured(f"{name} and {name}_FILE are both set; one is enough")
        try:
            Path(path).read_text()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not a text in UTF-8"
            raise ImproperlyConfigured(f"{name}_FILE cannot be read: {reason}") from None


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


def database_settings(config: Config, *, threads: int) -> dict[str, Any]:
    """``DATABASES["default"]`` from ``DATABASE_URL``, with the engine's backend and a pool.

    ``threads`` is how many threads of a process may want a connection at the same time.
    Raises ImproperlyConfigured when the address is not one of PostgreSQL, or the pool too small.
    """
    url = env.str("DATABASE_URL", "postgres://postgres@127.0.0.1:5432/pcf")
    return _database("DATABASE_URL", url, config, threads)


def replica_settings(config: Config, *, threads: int) -> dict[str, dict[str, Any]]:
    """``DATABASES`` of the read replicas: ``replica-1`` and so on, from ``DATABASE_REPLICA_URLS``.

    The addresses stand between commas. A request that cannot have a connection to a replica soon
    reads from the primary, so these pools wait for ``replicas.check_timeout`` only.
    Raises ImproperlyConfigured when an address is not one of PostgreSQL.
    """
    urls: list[str] = env.list("DATABASE_REPLICA_URLS", [])
    databases = {}
    for number, url in enumerate(filter(None, map(str.strip, urls)), start=1):
        database = _database("DATABASE_REPLICA_URLS", url, config, threads)
        options = database["OPTIONS"]
        options["replica"] = True
        options["connect_timeout"] = max(1, round(config.replicas.check_timeout))
        options["pool"]["timeout"] = config.replicas.check_timeout
        database["TEST"] = {"MIRROR": "default"}
        databases[f"replica-{number}"] = database
    return databases


def _database(variable: str, url: str, config: Config, threads: int) -> dict[str, Any]:
    try:
        pool = config.pool.sized(threads)
    except ConfigError as error:
        raise ImproperlyConfigured(str(error)) from error
    if urlsplit(url).scheme not in {"postgres", "postgresql"}:
        raise ImproperlyConfigured(f"{variable} must be a postgres:// address")
    database: dict[str, Any] = dict(dj_database_url.parse(url))
    database["ENGINE"] = "pcf.database.backend"
    database["CONN_MAX_AGE"] = 0  # the pool keeps connections, not the thread
    database["CONN_HEALTH_CHECKS"] = True  # a connection is checked when it leaves the pool
    options = dict(database.get("OPTIONS") or {})
    options.setdefault("connect_timeout", 5)
    options.setdefault("application_name", "pcf")
    options["pool"] = dataclasses.asdict(pool)
    if config.database.shared_sessions:
        options["session_statement_timeout"] = False
        database["DISABLE_SERVER_SIDE_CURSORS"] = True  # a cursor would stay in the session
    database["OPTIONS"] = options
    return database


def logging_settings(default_format: str) -> dict[str, Any]:
    """``LOGGING``: everything goes to standard error; ``LOG_FORMAT`` is plain or json.

    Raises ImproperlyConfigured for another format.
    """
    formats = {
        "plain": {
            "class": "pcf.http.logs.PlainFormatter",
            "format": "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s",
        },
        "json": {"class": "pcf.http.logs.JsonFormatter"},
    }
    wanted = env.str("LOG_FORMAT", default_format)
    if wanted not in formats:
        raise ImproperlyConfigured(f"LOG_FORMAT must be one of {', '.join(formats)}")
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"request_id": {"()": "pcf.http.logs.RequestIdFilter"}},
        "formatters": {"line": formats[wanted]},
        "handlers": {
            "console": {
                "class": "logging.StreamHandler",
                "filters": ["request_id"],
                "formatter": "line",
            }
        },
        "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", "INFO").upper()},
        # Django's own handlers for these would say everything twice, and mail it
        "loggers": {
            "django": {"handlers": [], "propagate": True},
            "django.server": {"handlers": ["console"], "propagate": False},
        },
    }


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
