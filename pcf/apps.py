"""The engine as a Django app: the one place of the engine that reads Django's settings."""

from django.apps import AppConfig
from django.conf import settings

from pcf.config import Config


def config() -> Config:
    """The engine's settings, as ``settings.PCF`` holds them now."""
    pcf: Config = settings.PCF
    return pcf


def debugging() -> bool:
    """Whether Django shows its pages for debugging, which only development does."""
    return bool(settings.DEBUG)


class PcfConfig(AppConfig):
    """Registers the engine's checks and signal receivers."""

    name = "pcf"
    verbose_name = "PCF engine"
    default_auto_field = "django.db.models.BigAutoField"
