"""Settings of a peer written with Django, on PCF's models and tables. PEER names the peer.

The peers have two small middlewares and PCF has all of its own. This is an advantage for the peers.
"""

import os

from settings.production import *

PEER = os.environ["PEER"]
MIDDLEWARE = [
    "django.middleware.common.CommonMiddleware",
    "benchmarks.peers.python.anonymous.middleware",
]
ROOT_URLCONF = f"benchmarks.peers.python.{PEER}"
if PEER != "graphene":  # graphene uses PCF's loaders, which need PCF's backend
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
