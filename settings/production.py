"""Production: refuses to start with values that are missing or not safe."""

from django.core.exceptions import ImproperlyConfigured

from settings.base import *
from settings.environment import engine_config, env, logging_settings

PCF = engine_config(
    documents={"introspection": False, "suggestions": False},
    rates={"trusted_proxies": 1},  # TLS ends at a proxy, which is the address seen otherwise
)

MIN_SECRET_LENGTH = 50
MIN_SECRET_CHARACTERS = 5  # different ones

for _name in ("SECRET_KEY", "ALLOWED_HOSTS", "DATABASE_URL", "REDIS_URL"):
    if not env.str(_name, ""):
        raise ImproperlyConfigured(f"production needs {_name} in the environment, or {_name}_FILE")
if (
    len(SECRET_KEY) < MIN_SECRET_LENGTH
    or len(set(SECRET_KEY)) < MIN_SECRET_CHARACTERS
    or SECRET_KEY.startswith(("development-only-", "test-", "django-insecure-"))
):
    raise ImproperlyConfigured(f"SECRET_KEY must be {MIN_SECRET_LENGTH} random characters or more")
if not ALLOWED_HOSTS or {"*", "."} & set(ALLOWED_HOSTS):
    raise ImproperlyConfigured("ALLOWED_HOSTS must name the hosts, not *")
if env.bool("DEBUG", False):
    raise ImproperlyConfigured("DEBUG cannot be on in production")
if PCF.features.slow_query or PCF.features.demo_data:
    raise ImproperlyConfigured("the features slow_query and demo_data cannot be on in production")

SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", True)
SECURE_REDIRECT_EXEMPT = ["^livez$", "^readyz$", "^health$", "^metrics$"]  # probes speak plain HTTP
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_HSTS_SECONDS = 31_536_000
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
# With this prefix a browser takes the cookie over HTTPS alone and sends it to this host alone
SESSION_COOKIE_NAME = "__Host-sessionid"
SESSION_COOKIE_SECURE = True
SESSION_COOKIE_AGE = 12 * 3_600  # seconds; a day's work
CSRF_COOKIE_NAME = "__Host-csrftoken"
CSRF_COOKIE_SECURE = True
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", [])

LOGGING = logging_settings("json")

STORAGES = {
    **STORAGES,
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
