"""The notes app."""

from django.apps import AppConfig


class NotesConfig(AppConfig):
    """The notes app."""

    name = "notes"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks."""
        from notes import checks  # noqa: F401, PLC0415 - models are loaded now
