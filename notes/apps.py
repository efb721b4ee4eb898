"""The notes app."""

from django.apps import AppConfig


class NotesConfig(AppConfig):
    """Registers the app."""

    name = "notes"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Declare what writes touch, and what is checked."""
        from notes import checks  # noqa: F401, PLC0415 (models are loaded by now)
        from notes.dependencies import register_all  # noqa: PLC0415

        register_all()
