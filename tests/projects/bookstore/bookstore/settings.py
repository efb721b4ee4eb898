"""The bookstore's settings: the engine's defaults, and what this project adds."""

from pcf.conf.defaults import *
from pcf.conf.environment import engine_config

PCF = engine_config(features={"graphiql": True})

SECRET_KEY = SECRET_KEY or "development-only-" + "x" * 40
ALLOWED_HOSTS = ALLOWED_HOSTS or ["*"]
WHITENOISE_USE_FINDERS = True  # development: static files without collectstatic

INSTALLED_APPS = [*INSTALLED_APPS, "books"]
ROOT_URLCONF = "bookstore.urls"
GRAPHQL_PATH = "api/graphql"
GRAPHQL_SERVICE = "bookstore.schema.graphql_service"
GRAPHENE = {"SCHEMA": "bookstore.schema.schema", "SCHEMA_OUTPUT": "schema.graphql"}
