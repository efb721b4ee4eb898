"""The engine as a Django app: the one place of the engine that reads Django's settings."""

from functools import cache
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from pcf.config import Config


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


def proxy_variables() -> tuple[str, ...]:
    """The WSGI variables by which Django may tell how the client reached a proxy in front."""
    secure = settings.SECURE_PROXY_SSL_HEADER
    forwarded = tuple(f"HTTP_X_FORWARDED_{what}" for what in ("HOST", "PORT", "PROTO"))
    return (*forwarded, secure[0]) if secure else forwarded


class PcfConfig(AppConfig):
    """Registers the engine's checks and signal receivers."""

    name = "pcf"
    verbose_name = "PCF engine"
    default_auto_field = "django.db.models.BigAutoField"
