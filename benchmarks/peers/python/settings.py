"""Settings of a peer written with Django, for production. PEER names the peer.

The peer has one small middleware; PCF has all of its own.
"""

import os

from psycopg.conninfo import conninfo_to_dict

PEER = os.environ["PEER"]
SECRET_KEY = os.environ["SECRET_KEY"]
ALLOWED_HOSTS = ["127.0.0.1"]
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
ROOT_URLCONF = f"benchmarks.peers.python.{PEER}"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "benchmarks.peers.python",
    {"strawberry": "strawberry_django", "undine": "undine"}[PEER],
]

_server = conninfo_to_dict(os.environ["DATABASE_URL"])
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": _server.get("host"),
        "PORT": _server.get("port"),
        "USER": _server.get("user"),
        "PASSWORD": _server.get("password"),
        "NAME": _server["dbname"],
        "OPTIONS": {"pool": {"min_size": 1, "max_size": 10}},
    }
}

UNDINE = {
    "SCHEMA": "benchmarks.peers.python.undine.schema",
    "GRAPHQL_PATH": "graphql",
    "PARSE_CACHE_MAX_SIZE": 1_000,
    "VALIDATION_CACHE_MAX_SIZE": 1_000,
}
