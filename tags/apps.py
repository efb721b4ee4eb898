"""The tags app."""

from django.apps import AppConfig


class TagsConfig(AppConfig):
    """The tags app."""

    name = "tags"
    default_auto_field = "django.db.models.BigAutoField"
