"""Django settings for production: HTTPS, safe cookies, JSON logs; and a check of all values.

A project's production settings import these after their own values. They call
``check_production(globals())`` at the end. This module's ``PCF`` replaces the project's; a project
with values of its own makes another one after the import:
``PCF = engine_config(**PRODUCTION_SECTIONS, cache={"default_ttl": 60})``.
"""

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from pcf.conf.environment import engine_config, env, logging_settings

MIN_SECRET_LENGTH = 50
MIN_SECRET_CHARACTERS = 5  # different characters of a secret

PRODUCTION_SECTIONS: dict[str, dict[str, Any]] = {
    "documents": {"introspection": False, "suggestions": False},
    "rates": {"trusted_proxies": 1},  # a proxy ends TLS, so connections come from its address
}
PCF = engine_config(**PRODUCTION_SECTIONS)

SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", True)
SECURE_REDIRECT_EXEMPT = ["^livez$", "^readyz$", "^health$", "^metrics$"]  # probes use plain HTTP
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_HSTS_SECONDS = 31_536_000
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
# A browser accepts a __Host- cookie over HTTPS only, and sends it to this host only.
SESSION_COOKIE_NAME = "__Host-sessionid"
SESSION_COOKIE_SECURE = True
SESSION_COOKIE_AGE = 12 * 3_600  # seconds: one working day
CSRF_COOKIE_NAME = "__Host-csrftoken"
CSRF_COOKIE_SECURE = True
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", [])

LOGGING = logging_settings("json")

STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}


def check_production(settings: Mapping[str, Any]) -> None:
    """Raise ImproperlyConfigured if a value of ``settings`` is missing or unsafe."""
    for name in ("SECRET_KEY", "ALLOWED_HOSTS", "DATABASE_URL", "REDIS_URL"):
        if not env.str(name, ""):
            raise ImproperlyConfigured(
                f"production needs {name} in the environment, or {name}_FILE"
            )
    secret = settings["SECRET_KEY"]
    if (
        len(secret) < MIN_SECRET_LENGTH
        or len(set(secret)) < MIN_SECRET_CHARACTERS
        or secret.startswith(("development-only-", "test-", "django-insecure-"))
    ):
        raise ImproperlyConfigured(
            f"SECRET_KEY must be {MIN_SECRET_LENGTH} random characters or more, "
            f"of at least {MIN_SECRET_CHARACTERS} different ones"
        )
    hosts = settings["ALLOWED_HOSTS"]
    if not hosts or {"*", "."} & set(hosts):
        raise ImproperlyConfigured("ALLOWED_HOSTS must name the hosts, not *")
    if env.bool("DEBUG", False):
        raise ImproperlyConfigured("DEBUG cannot be on in production")
    cookie = settings["PCF"].requests.session_cookie
    if cookie and not cookie.startswith("__Host-"):
        raise ImproperlyConfigured(
            "PCF_REQUESTS_SESSION_COOKIE must begin with __Host-, so that browsers keep the cookie "
            "for HTTPS and for this host alone"
        )
    features = settings["PCF"].features
    if features.slow_query or features.demo_data:
        raise ImproperlyConfigured(
            "the features slow_query and demo_data cannot be on in production"
        )
