"""A Django project of one peer (PEER in the environment) on PCF's models and tables.

Two small middlewares, where PCF has all of its own: an advantage of the peers.
"""

import os

from settings.production import *

PEER = os.environ["PEER"]
MIDDLEWARE = [
    "django.middleware.common.CommonMiddleware",
    "benchmarks.peers.python.anonymous.middleware",
]
ROOT_URLCONF = f"benchmarks.peers.python.{PEER}"
if PEER != "graphene":  # Django's own backend, with its pool; graphene uses PCF's loaders
    DATABASES["default"] |= {"ENGINE": "django.db.backends.postgresql", "CONN_HEALTH_CHECKS": False}
    DATABASES["default"]["OPTIONS"]["pool"] = {"min_size": 1, "max_size": 10}
if PEER == "strawberry":
    INSTALLED_APPS = [*INSTALLED_APPS, "strawberry_django"]
if PEER == "undine":
    INSTALLED_APPS = [*INSTALLED_APPS, "undine"]
    UNDINE = {
        "SCHEMA": "benchmarks.peers.python.undine.schema",
        "GRAPHQL_PATH": "graphql",
        "PARSE_CACHE_MAX_SIZE": 1_000,
        "VALIDATION_CACHE_MAX_SIZE": 1_000,
        "ENTRYPOINT_DEFAULT_CACHE_TIME": int(os.environ.get("CACHE") or 0),  # seconds
    }
