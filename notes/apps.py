"""The notes app."""

from django.apps import AppConfig


class NotesConfig(AppConfig):
    """The notes app."""

    name = "notes"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks and the deletion of notes."""
        from notes import checks, trash  # noqa: F401, PLC0415 - models are loaded now
