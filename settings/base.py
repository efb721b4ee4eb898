"""What every environment shares."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from settings.environment import (
    check_secret_files,
    database_settings,
    engine_config,
    env,
    logging_settings,
    redis_settings,
    replica_settings,
    whole_number,
)

check_secret_files()

BASE_DIR = Path(__file__).resolve().parent.parent

PCF = engine_config()

SECRET_KEY = env.str("SECRET_KEY", "")
DEBUG = False
_hosts: list[str] = env.list("ALLOWED_HOSTS", [])
ALLOWED_HOSTS = [host.strip() for host in _hosts if host.strip()]

ROOT_URLCONF = "pcf.urls"
WSGI_APPLICATION = "pcf.wsgi.application"
ASGI_APPLICATION = "pcf.asgi.application"
AUTH_USER_MODEL = "users.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "axes",
    "django_prometheus",
    "graphene_django",
    "pcf",
    "pcf.cache",
    "users",
    "tags",
    "notes",
]

MIDDLEWARE = [
    "pcf.http.middleware.RequestMiddleware",  # request id, deadline, metrics
    "pcf.http.hosts.HostMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "pcf.http.pages.PagePolicyMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",  # the page of a log-in that is locked out
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

THREADS = whole_number("THREADS", 8, 1, 256)
DATABASES: dict[str, Any] = {
    "default": database_settings(PCF, threads=THREADS),
    **replica_settings(PCF, threads=THREADS),
}
DATABASE_ROUTERS = ["pcf.database.routing.ReplicaRouter"]

REDIS_URL = env.str("REDIS_URL", "redis://127.0.0.1:6379/0")
CACHES = redis_settings(PCF, REDIS_URL)

GRAPHQL_SERVICE = "pcf.schema.graphql_service"  # what is served at /graphql
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

# Log-ins to the admin: so many failures of one account or from one address, and neither gets any
# further for a while, whatever the password. Counted in PostgreSQL, so over all workers.
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = ["username", "ip_address"]
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False  # trying again does not prolong it
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_CALLABLE = "users.logins.locked_out"
AXES_USERNAME_CALLABLE = "users.logins.account_name"
AXES_CLIENT_IP_CALLABLE = "users.logins.client_address"
AXES_VERBOSE = False
AXES_SENSITIVE_PARAMETERS = ["username"]  # masked in logs: people type passwords there by mistake

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

LOGGING = logging_settings("plain")
