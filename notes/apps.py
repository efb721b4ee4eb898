"""The notes app."""

from django.apps import AppConfig


class NotesConfig(AppConfig):
    """Registers the app."""

    name = "notes"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Declare what writes touch."""
        from notes.dependencies import register_all  # noqa: PLC0415 (models are loaded by now)

        register_all()
