"""The users app."""

from django.apps import AppConfig


class UsersConfig(AppConfig):
    """Registers the app."""

    name = "users"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Declare what writes touch."""
        from users.dependencies import register_all  # noqa: PLC0415 (models are loaded by now)

        register_all()
