"""The users app."""

from django.apps import AppConfig


class UsersConfig(AppConfig):
    """The users app."""

    name = "users"
    default_auto_field = "django.db.models.BigAutoField"
