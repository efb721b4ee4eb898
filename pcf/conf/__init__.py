"""The engine's settings: ``settings.PCF``, and what the engine reads of Django's settings."""

from functools import cache
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from pcf.conf.sections import Config

DEFAULT_THREADS = 8


@cache  # the engine asks some twenty times a request; Django's lazy settings are slower
def config() -> Config:
    """Return the engine's settings, ``settings.PCF``."""
    pcf: Config = settings.PCF
    return pcf


@cache
def graphql_path() -> str:
    """Return the path of the GraphQL endpoint; ``/graphql`` if ``GRAPHQL_PATH`` is not set."""
    return "/" + str(getattr(settings, "GRAPHQL_PATH", "graphql")).strip("/")


def _clear_caches(**_: Any) -> None:
    config.cache_clear()
    graphql_path.cache_clear()


setting_changed.connect(_clear_caches)  # Django sends the signal when a test changes a setting


def debugging() -> bool:
    """Return whether Django shows its debugging pages. Only development does."""
    return bool(settings.DEBUG)


def find_service() -> Any:
    """Return the project's ``GraphQLService``."""
    return service_maker()()


def service_maker() -> Any:
    """Return the function that ``settings.GRAPHQL_SERVICE`` names. It returns the service."""
    return import_string(settings.GRAPHQL_SERVICE)


def forwarding_headers() -> tuple[bytes, ...]:
    """Return the headers that may tell Django how the client reached a proxy in front."""
    secure = settings.SECURE_PROXY_SSL_HEADER
    names = {b"x-forwarded-host", b"x-forwarded-port", b"x-forwarded-proto"}
    if secure:
        names.add(secure[0].removeprefix("HTTP_").replace("_", "-").lower().encode())
    return tuple(sorted(names))


def middleware_settings() -> tuple[list[str], bool]:
    """Return MIDDLEWARE, and whether DISALLOWED_USER_AGENTS refuses any client."""
    return list(settings.MIDDLEWARE), bool(settings.DISALLOWED_USER_AGENTS)


def graphene_middleware() -> tuple[Any, ...]:
    """Return ``GRAPHENE["MIDDLEWARE"]``: dotted names, classes, functions or objects.

    Only what the project lists itself counts. graphene-django adds a middleware for DEBUG, whose
    results its own view alone returns.
    """
    return tuple(getattr(settings, "GRAPHENE", {}).get("MIDDLEWARE", ()))


def thread_count() -> int:
    """Return the number of threads of a process that execute requests: ``settings.THREADS``."""
    return int(getattr(settings, "THREADS", DEFAULT_THREADS))
