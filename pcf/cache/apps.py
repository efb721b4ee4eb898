"""The response cache as a Django app: it has a table, the outbox, and takes part in commits."""

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class CacheConfig(AppConfig):
    """Registers the app."""

    name = "pcf.cache"
    label = "pcf_cache"
    verbose_name = "PCF response cache"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Guard commits, and let ``migrate`` install the triggers that see writes."""
        from pcf.cache.gate import gate  # noqa: PLC0415 (not before the settings are complete)
        from pcf.cache.invalidation import guard, settle  # noqa: PLC0415
        from pcf.database.commits import guard_commits  # noqa: PLC0415

        guard_commits(guard)
        gate().settle_with(settle)
        post_migrate.connect(_install_triggers, dispatch_uid="pcf-triggers")


def _install_triggers(sender: AppConfig, using: str, **_: Any) -> None:
    from pcf.cache import outbox  # noqa: PLC0415

    outbox.install(using, sender.label)
