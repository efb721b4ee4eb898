"""The engine as a Django app: the one place of the engine that reads Django's settings."""

from functools import cache
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from pcf.config import Config

DEFAULT_THREADS = 8


@cache  # a request asks some twenty times, and Django's settings take their time
def config() -> Config:
    """The engine's settings, as ``settings.PCF`` holds them now."""
    pcf: Config = settings.PCF
    return pcf


def _forget_config(**_: Any) -> None:
    config.cache_clear()


setting_changed.connect(_forget_config)  # tests change settings


def debugging() -> bool:
    """Whether Django shows its pages for debugging, which only development does."""
    return bool(settings.DEBUG)


def find_service() -> Any:
    """The project's ``GraphQLService``."""
    return service_maker()()


def service_maker() -> Any:
    """The function ``settings.GRAPHQL_SERVICE``, which returns it."""
    return import_string(settings.GRAPHQL_SERVICE)


def forwarding_headers() -> tuple[bytes, ...]:
    """Return the headers by which Django may tell how the client reached a proxy in front."""
    secure = settings.SECURE_PROXY_SSL_HEADER
    names = {b"x-forwarded-host", b"x-forwarded-port", b"x-forwarded-proto"}
    if secure:
        names.add(secure[0].removeprefix("HTTP_").replace("_", "-").lower().encode())
    return tuple(sorted(names))


def middleware_settings() -> tuple[list[str], bool]:
    """Return MIDDLEWARE, and whether Django refuses clients by their names."""
    return list(settings.MIDDLEWARE), bool(settings.DISALLOWED_USER_AGENTS)


def thread_count() -> int:
    """Return how many threads of a process work for requests: ``settings.THREADS``."""
    return int(getattr(settings, "THREADS", DEFAULT_THREADS))


class PcfConfig(AppConfig):
    """Registers the engine's checks and signal receivers."""

    name = "pcf"
    verbose_name = "PCF engine"
    default_auto_field = "django.db.models.BigAutoField"
