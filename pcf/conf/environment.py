"""The environment: its variables, and readers of typed values for settings modules.

``DJANGO_VARIABLES`` and ``SERVER_VARIABLES`` are the variables outside of the engine's sections,
which settings modules and gunicorn read. ``manage.py settings_reference`` prints them; a test holds
that no other variable is read.

Every reader raises ImproperlyConfigured for a wrong value; the message names the variable.
"""

import dataclasses
import os
import re
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import dj_database_url
from django.core.exceptions import ImproperlyConfigured
from environs import EnvError, FileAwareEnv
from redis.backoff import NoBackoff
from redis.retry import Retry

from pcf.conf.sections import Config, ConfigError


class Variable(NamedTuple):
    """One environment variable, with the words of docs/reference/settings.md.

    ``default`` is text for people; an empty text stands for a variable that has no value.
    """

    name: str
    type: str
    default: str
    meaning: str


REQUIRED = "required in production"

env = FileAwareEnv(strip_whitespace=True)  # NAME_FILE may name a file with the value of NAME


DJANGO_VARIABLES = (
    Variable(
        "DJANGO_SETTINGS_MODULE",
        "str",
        "settings.development (this project)",
        "The settings module. Deployments of this project set `settings.production`. Another "
        "project sets its own module.",
    ),
    Variable(
        "SECRET_KEY",
        "str",
        REQUIRED,
        "Django's secret key: 50 random characters or more, of at least 5 different ones.",
    ),
    Variable(
        "ALLOWED_HOSTS",
        "names",
        REQUIRED,
        "Host names that the service answers for, between commas. Production refuses `*`.",
    ),
    Variable(
        "DEBUG",
        "bool",
        "true in development (this project)",
        "Whether Django shows its debugging pages. Production refuses it. `pcf.conf.defaults` sets "
        "`DEBUG = False` and does not read the variable.",
    ),
    Variable(
        "DATABASE_URL",
        "str",
        "postgres://postgres@127.0.0.1:5432/pcf, " + REQUIRED,
        "The address of PostgreSQL. Its query string may hold options of libpq.",
    ),
    Variable(
        "DATABASE_REPLICA_URLS",
        "names",
        "",
        "The addresses of read replicas, between commas. Queries read from replicas that are not "
        "behind what their viewer has seen.",
    ),
    Variable(
        "REDIS_URL",
        "str",
        "redis://127.0.0.1:6379/0, " + REQUIRED,
        "The address of Redis or Valkey: redis://, rediss:// or unix://.",
    ),
    Variable(
        "THREADS",
        "int",
        "8",
        "Threads of a process that execute requests, 1 to 256. A thread waits while PostgreSQL "
        "works; raise it where slow statements are expected.",
    ),
    Variable("LOG_LEVEL", "str", "INFO", "The lowest level that the logs show."),
    Variable(
        "LOG_FORMAT",
        "str",
        "plain, json in production",
        "`plain` for people, `json` for one JSON object a line.",
    ),
    Variable(
        "SECURE_SSL_REDIRECT",
        "bool",
        "true in production",
        "Whether plain HTTP is redirected to HTTPS, except for probes and /metrics.",
    ),
    Variable(
        "CSRF_TRUSTED_ORIGINS",
        "names",
        "",
        "Origins whose pages may post forms of the admin, between commas (Django).",
    ),
    Variable(
        "USERS_SIGN_UP",
        "str",
        "open",
        "Who may sign up (this project): `open` is everybody, `invited` are people with an "
        "invitation, `closed` is nobody.",
    ),
    Variable(
        "USERS_USERNAMES",
        "bool",
        "true",
        "Whether people choose a username at sign-up, which says when another account has it (this "
        "project). Without, they log in with their confirmed address.",
    ),
    Variable(
        "USERS_SITE",
        "str",
        "http://127.0.0.1:8080/",
        "The address of the front end, with a slash at its end (this project). The links in mails "
        "begin with it.",
    ),
    Variable("EMAIL_HOST", "str", "localhost", "The mail server (this project)."),
    Variable("EMAIL_PORT", "int", "25", "The port of the mail server."),
    Variable("EMAIL_HOST_USER", "str", "", "The user at the mail server; empty for none."),
    Variable("EMAIL_HOST_PASSWORD", "str", "", "The password at the mail server."),
    Variable("EMAIL_USE_TLS", "bool", "false", "Whether the mail server needs STARTTLS."),
    Variable(
        "DEFAULT_FROM_EMAIL", "str", "PCF <pcf@localhost>", "The sender of mails (this project)."
    ),
)

SERVER_VARIABLES = (
    Variable("HOST", "str", "127.0.0.1", "The address that gunicorn listens on."),
    Variable("PORT", "int", "8080", "The port that gunicorn listens on, 1 to 65535."),
    Variable(
        "WORKERS",
        "int",
        "2",
        "Server processes, 1 to 256. Use one for each processor that PostgreSQL and Redis leave.",
    ),
    Variable(
        "MAX_REQUESTS",
        "int",
        "0",
        "Requests after which gunicorn replaces a worker. 0 replaces none.",
    ),
    Variable(
        "TLS_CERTFILE", "str", "", "The path of a certificate; gunicorn then speaks TLS itself."
    ),
    Variable("TLS_KEYFILE", "str", "", "The path of the certificate's key."),
    Variable("HTTP2", "0 or 1", "0", "1 offers HTTP/2 besides HTTP/1.1. Needs `TLS_CERTFILE`."),
    Variable(
        "ACCESS_LOG",
        "str",
        "",
        "A file for gunicorn's access log; `-` is standard output.",
    ),
    Variable(
        "PROMETHEUS_MULTIPROC_DIR",
        "str",
        "a folder that gunicorn makes",
        "The folder that the workers share their metrics in. A start empties it. gunicorn removes "
        "the folder that it has made when it ends, unless SIGKILL ends it.",
    ),
)

# Variables of scripts and tests that begin with PCF_; the engine must not refuse them as unknown.
TOOL_VARIABLES = ("PCF_SERVICES", "PCF_TEST_RUN_ID", "PCF_FUZZ_EXAMPLES", "PCF_METRICS_FOLDER_OF")

SECRETS = ("SECRET_KEY", "DATABASE_URL", "REDIS_URL")

_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}")


def whole_number(name: str, default: int, low: int, high: int) -> int:
    """Return the variable ``name`` as a whole number from ``low`` to ``high``.

    Returns ``default`` if the variable is missing or empty.
    """
    text: str = env.str(name, "").strip()
    if not text:
        return default
    if not _WHOLE_NUMBER.fullmatch(text) or not low <= int(text) <= high:
        raise ImproperlyConfigured(
            f"{name} must be a whole number from {low} to {high}, got {text!r}"
        )
    return int(text)


def host_names() -> list[str]:
    """Return the names between the commas of the variable ALLOWED_HOSTS."""
    names: list[str] = env.list("ALLOWED_HOSTS", [])
    return [name.strip() for name in names if name.strip()]


def check_secret_files() -> None:
    """Raise ImproperlyConfigured if a ``NAME_FILE`` cannot be read or ``NAME`` is set as well.

    With two values, a rotation could change the one that the service does not use.
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
    """Return the engine's settings.

    The variables ``PCF_<SECTION>_<FIELD>`` win over ``sections``, which win over the defaults.
    ``sections`` maps the names of sections to values by field. An unknown variable that begins
    with ``PCF_`` is an error, and so are values that contradict each other.
    """
    readers: dict[Any, Any] = {
        int: env.int,
        float: env.float,
        bool: env.bool,
        str: env.str,
        tuple[str, ...]: _names,
    }
    built: dict[str, Any] = {}
    known = set(TOOL_VARIABLES)
    try:
        for section in dataclasses.fields(Config):
            section_type = section.default_factory
            values = dict(sections.get(section.name, {}))
            for setting in dataclasses.fields(section_type):  # type: ignore[arg-type]
                variable = f"PCF_{section.name}_{setting.name}".upper()
                known.add(variable)
                value = readers[setting.type](variable, None)
                if value is not None:
                    values[setting.name] = value
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
    """Return the texts between the commas of a variable; ``default`` if it is not set."""
    values: list[str] | None = env.list(variable, default)
    return None if values is None else tuple(v.strip() for v in values if v.strip())


def database_settings(config: Config, *, threads: int) -> dict[str, Any]:
    """Return ``DATABASES["default"]`` for DATABASE_URL, with the engine's backend and a pool.

    ``threads`` is the number of threads of a process that may need a connection at the same time.
    The pool must be at least as large.
    """
    url = env.str("DATABASE_URL", "postgres://postgres@127.0.0.1:5432/pcf")
    return _database("DATABASE_URL", url, config, threads)


def replica_settings(config: Config, *, threads: int) -> dict[str, dict[str, Any]]:
    """Return ``DATABASES`` of the read replicas: ``replica-1`` and so on.

    DATABASE_REPLICA_URLS holds their addresses between commas. The pools of replicas wait only
    ``replicas.check_timeout`` seconds for a connection: the request then reads from the primary.
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
    """Return the entry of ``DATABASES`` for ``url``, the value of ``variable``."""
    try:
        pool = config.pool.sized(threads, config.server.greenlets)
    except ConfigError as error:
        raise ImproperlyConfigured(str(error)) from error
    if urlsplit(url).scheme not in {"postgres", "postgresql"}:
        raise ImproperlyConfigured(f"{variable} must be a postgres:// address")
    database: dict[str, Any] = dict(dj_database_url.parse(url))
    database["ENGINE"] = "pcf.database.backend"
    database["CONN_MAX_AGE"] = 0  # the pool keeps the connections
    database["CONN_HEALTH_CHECKS"] = True  # the pool checks a connection that it hands out
    options = dict(database.get("OPTIONS") or {})
    options.setdefault("connect_timeout", 5)
    options.setdefault("application_name", "pcf")
    options["pool"] = dataclasses.asdict(pool)
    if config.database.shared_sessions:
        options["session_statement_timeout"] = False
        database["DISABLE_SERVER_SIDE_CURSORS"] = True  # such a cursor lives in the session
    database["OPTIONS"] = options
    return database


def logging_settings(default_format: str) -> dict[str, Any]:
    """Return ``LOGGING``: every logger writes to standard error.

    LOG_FORMAT selects ``plain`` or ``json``, LOG_LEVEL the lowest level.
    """
    formats = {
        "plain": {
            "class": "pcf.observability.logs.PlainFormatter",
            "format": "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s",
        },
        "json": {"class": "pcf.observability.logs.JsonFormatter"},
    }
    wanted = env.str("LOG_FORMAT", default_format)
    if wanted not in formats:
        raise ImproperlyConfigured(f"LOG_FORMAT must be one of {', '.join(formats)}")
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"request_id": {"()": "pcf.observability.logs.RequestIdFilter"}},
        "formatters": {"line": formats[wanted]},
        "handlers": {
            "console": {
                "class": "logging.StreamHandler",
                "filters": ["request_id"],
                "formatter": "line",
            }
        },
        "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", "INFO").upper()},
        # Django's own handlers would write the same lines again, and mail them
        "loggers": {
            "django": {"handlers": [], "propagate": True},
            "django.server": {"handlers": ["console"], "propagate": False},
        },
    }


def redis_settings(config: Config, url: str) -> dict[str, Any]:
    """Return ``CACHES`` for django-redis at ``url``. ``timeouts.cache`` limits its sockets."""
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
                # one retry without a pause: the server may have closed a kept connection
                "CONNECTION_POOL_KWARGS": {"retry": Retry(NoBackoff(), 1)},
            },
        }
    }
