"""Django settings with the engine's defaults, for a project to import and to extend.

    from pcf.conf.defaults import *

    INSTALLED_APPS = [*INSTALLED_APPS, "books"]
    ROOT_URLCONF = "bookstore.urls"
    GRAPHQL_SERVICE = "bookstore.schema.graphql_service"

The values come from the environment (``pcf.conf.environment``, docs/reference/settings.md).
"""

from pathlib import Path
from typing import Any

from pcf.conf.environment import (
    check_secret_files,
    database_settings,
    engine_config,
    env,
    host_names,
    logging_settings,
    redis_settings,
    replica_settings,
    whole_number,
)

check_secret_files()

PCF = engine_config()

SECRET_KEY = env.str("SECRET_KEY", "")
DEBUG = False
ALLOWED_HOSTS = host_names()

WSGI_APPLICATION = "pcf.wsgi.application"
ASGI_APPLICATION = "pcf.asgi.application"
ROOT_URLCONF = "pcf.urls"  # a project with its own pages includes these URLs
GRAPHQL_PATH = "graphql"  # path of the endpoint, without the first slash
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "pcf.apps.AdminConfig",  # django.contrib.admin
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_prometheus",
    "graphene_django",
    "pcf",
    "pcf.cache",
]

MIDDLEWARE = [
    "pcf.http.middleware.RequestMiddleware",  # request id and deadline
    "pcf.http.middleware.HostMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "pcf.http.middleware.CSPMiddleware",
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

THREADS = whole_number(
    "THREADS", 8, 1, 256
)  # of a process, for requests that the event loop cannot answer
DATABASES: dict[str, Any] = {
    "default": database_settings(PCF, threads=THREADS),
    **replica_settings(PCF, threads=THREADS),
}
DATABASE_ROUTERS = ["pcf.database.replicas.ReplicaRouter"]

REDIS_URL = env.str("REDIS_URL", "redis://127.0.0.1:6379/0")
CACHES = redis_settings(PCF, REDIS_URL)

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
STATIC_ROOT: str | Path = "staticfiles"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}

PROMETHEUS_EXPORT_MIGRATIONS = False  # every starting process would open a connection

DATA_UPLOAD_MAX_MEMORY_SIZE = PCF.documents.max_body_bytes

LOGGING = logging_settings("plain")
