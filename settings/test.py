"""Settings for tests: real servers, with names that only one run of the tests uses."""

import os

from pcf.conf.environment import database_settings, engine_config, env, redis_settings
from settings.base import *

# identifies the run and its process (pytest-xdist)
RUN_ID = env.str("PCF_TEST_RUN_ID", str(os.getpid())) + env.str("PYTEST_XDIST_WORKER", "")

PCF = engine_config(
    features={"graphiql": True, "slow_query": True, "demo_data": True},
    requests={"max_concurrent": 0},
    rates={"enabled": False},
    cache={"prefix": f"test-{RUN_ID}"},
    timeouts={"cache": 2.0},  # a test on a busy machine must not take Redis for dead
)

INSTALLED_APPS = [*INSTALLED_APPS, "tests.flush"]
SECRET_KEY = "test-" + "x" * 50
ALLOWED_HOSTS = ["*"]
USERS_SITE = "https://notes.example.org/"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DATABASES = {"default": database_settings(PCF, threads=THREADS)}
DATABASES["default"]["TEST"] = {"NAME": f"test_pcf_{RUN_ID}"}
CACHES = redis_settings(PCF, REDIS_URL)
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = True
