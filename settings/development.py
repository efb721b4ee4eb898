"""Working on the project: everything is visible, nothing is secret. Never use it in production."""

from settings.base import *
from settings.environment import engine_config, env

PCF = engine_config(
    features={"graphiql": True, "slow_query": True, "demo_data": True},
    requests={"max_concurrent": 0},
    rates={"enabled": False},
)

DEBUG = env.bool("DEBUG", True)
SECRET_KEY = SECRET_KEY or "development-only-" + "x" * 40
ALLOWED_HOSTS = ALLOWED_HOSTS or ["*"]
AUTH_PASSWORD_VALIDATORS = []
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
