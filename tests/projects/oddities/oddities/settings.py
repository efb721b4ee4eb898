"""Settings of the oddities: tests alone use them."""

import os

from pcf.conf.defaults import *
from pcf.conf.environment import database_settings, engine_config, redis_settings

RUN_ID = os.environ.get("PCF_TEST_RUN_ID", str(os.getpid()))

PCF = engine_config(
    requests={"max_concurrent": 0},
    rates={"enabled": True, "address_burst": 10**6, "viewer_burst": 10**6},
    cache={"prefix": os.environ.get("ODDITIES_PREFIX", f"oddities-{RUN_ID}")},
    timeouts={"cache": 2.0},
)
SECRET_KEY = "test-" + "x" * 50
ALLOWED_HOSTS = ["*"]
DATABASES = {"default": database_settings(PCF, threads=THREADS)}
DATABASES["default"]["TEST"] = {"NAME": f"test_oddities_{RUN_ID}"}
CACHES = redis_settings(PCF, REDIS_URL)

INSTALLED_APPS = [*INSTALLED_APPS, "odd", "tests.flush"]
AUTH_USER_MODEL = "odd.Member"
ROOT_URLCONF = "oddities.urls"
GRAPHQL_SERVICE = "oddities.schema.graphql_service"
GRAPHENE = {"SCHEMA": "oddities.schema.schema"}
WHITENOISE_AUTOREFRESH = True
MEDIA_URL = "/media/"
