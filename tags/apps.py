"""The tags app."""

from django.apps import AppConfig


class TagsConfig(AppConfig):
    """Registers the app."""

    name = "tags"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Declare what writes touch."""
        from tags.dependencies import register_all  # noqa: PLC0415 (models are loaded by now)

        register_all()
