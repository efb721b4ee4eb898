"""The users app."""

from django.apps import AppConfig


class UsersConfig(AppConfig):
    """The users app."""

    name = "users"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks."""
        from users import checks  # noqa: F401, PLC0415 - models are loaded now
