"""The Django app of the engine, and the admin with its site."""

from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps
from django.db.backends.signals import connection_created


class PcfConfig(AppConfig):
    """The engine: its permissions, templates, static files, commands and checks."""

    default = True
    name = "pcf"
    verbose_name = "PCF engine"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the checks of ``manage.py check``; watch the connections of all backends."""
        from pcf import checks  # noqa: F401, PLC0415 (models come first)
        from pcf.database.query_log import note_reads_of_other_backend  # noqa: PLC0415

        connection_created.connect(note_reads_of_other_backend)


class AdminConfig(admin_apps.AdminConfig):
    """Django's admin with the engine's site, named ``pcf.apps.AdminConfig`` in INSTALLED_APPS."""

    default = False
    default_site = "pcf.admin.site.AdminSite"

    def ready(self) -> None:
        """Register the engine's pages, then those of the apps.

        Django makes the site at its first use, by an import of ``pcf.admin.site``. When that import
        is the first of ``pcf.admin``, the pages register at a site that Django then replaces.
        """
        import pcf.admin  # noqa: F401, PLC0415 (models come first)

        super().ready()
