"""The settings of the stubborn service: as in development, with a schema of its own."""

from settings.development import *  # noqa: F403 - as every settings module does

ROOT_URLCONF = "tests.end_to_end.stubborn.urls"
GRAPHQL_SERVICE = "tests.end_to_end.stubborn.urls.service"
