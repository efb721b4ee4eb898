"""The notes application for browsers: static files and one page, on the public API alone."""

from django.apps import AppConfig


class WebConfig(AppConfig):
    """The application has no models."""

    name = "web"
    verbose_name = "Notes application"
