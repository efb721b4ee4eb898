"""The response cache as a Django app: its table is the outbox, and it takes part in commits."""

from typing import Any

from django.apps import AppConfig
from django.core.management import CommandError
from django.db.models.signals import post_migrate
from django.utils.module_loading import autodiscover_modules


class CacheConfig(AppConfig):
    """The configuration of the app."""

    name = "pcf.cache"
    label = "pcf_cache"
    verbose_name = "PCF response cache"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Guard commits and sessions, and let ``migrate`` install the triggers of invalidation."""
        from pcf.cache.invalidation import (  # noqa: PLC0415 (settings come first)
            admit_session,
            deliver_pending,
            guard,
            writers,
        )
        from pcf.cache.redis_gateway import redis_gateway  # noqa: PLC0415
        from pcf.database.connection import add_session_hook  # noqa: PLC0415
        from pcf.database.transactions import add_commit_hook  # noqa: PLC0415

        autodiscover_modules("touches")  # what the apps declare that writes touch
        add_commit_hook(guard)
        add_session_hook(admit_session)
        redis_gateway().deliver_with(deliver_pending)
        redis_gateway().epochs.find_writers = writers
        post_migrate.connect(_install_triggers, dispatch_uid="pcf-triggers")


def _install_triggers(sender: AppConfig, using: str, **_: Any) -> None:
    from pcf.cache.trigger_installation import TriggerInstallationError, install  # noqa: PLC0415

    try:
        install(using, sender.label)
    except TriggerInstallationError as error:
        raise CommandError(str(error)) from error
