"""What every environment shares."""

from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from settings.environment import database_settings, engine_config, env, redis_settings

BASE_DIR = Path(__file__).resolve().parent.parent

PCF = engine_config()

SECRET_KEY = env.str("SECRET_KEY", "")
DEBUG = False
_hosts: list[str] = env.list("ALLOWED_HOSTS", [])
ALLOWED_HOSTS = [host.strip() for host in _hosts if host.strip()]

ROOT_URLCONF = "pcf.urls"
WSGI_APPLICATION = "pcf.wsgi.application"
AUTH_USER_MODEL = "users.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_prometheus",
    "graphene_django",
    "pcf",
    "users",
    "tags",
    "notes",
]

MIDDLEWARE = [
    "pcf.http.middleware.RequestMiddleware",  # request id, deadline, metrics
    "pcf.http.hosts.HostMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

THREADS = env.int("THREADS", 8)
if THREADS < 1:
    raise ImproperlyConfigured("THREADS must be at least 1")
DATABASES: dict[str, Any] = {"default": database_settings(pool_size=THREADS + 2)}

REDIS_URL = env.str("REDIS_URL", "redis://127.0.0.1:6379/0")
CACHES = redis_settings(PCF, REDIS_URL)

GRAPHQL_SERVICE = "pcf.schema.graphql_service"  # for commands
GRAPHENE = {"SCHEMA": "pcf.schema.schema", "SCHEMA_OUTPUT": "schema.graphql"}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}

PROMETHEUS_EXPORT_MIGRATIONS = False  # would open a connection in every process that starts

DATA_UPLOAD_MAX_MEMORY_SIZE = PCF.documents.max_body_bytes

LOG_LEVEL = env.str("LOG_LEVEL", "INFO").upper()
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"request_id": {"()": "pcf.http.logs.RequestIdFilter"}},
    "formatters": {
        "plain": {"format": "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s"},
    },
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "filters": ["request_id"],
            "formatter": "plain",
        }
    },
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    "loggers": {"django.server": {"handlers": ["console"], "propagate": False}},
}
