"""Settings for development: every feature is on, no value is secret. Not for production."""

from pcf.conf.environment import engine_config, env
from settings.base import *

PCF = engine_config(
    features={"graphiql": True, "slow_query": True, "demo_data": True},
    requests={"max_concurrent": 0, "session_cookie": "pcf_session"},
    rates={"enabled": False},
)

DEBUG = env.bool("DEBUG", True)
SECRET_KEY = SECRET_KEY or "development-only-" + "x" * 40
ALLOWED_HOSTS = ALLOWED_HOSTS or ["*"]
AUTH_PASSWORD_VALIDATORS = []
EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
