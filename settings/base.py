"""Settings that all environments share."""

from datetime import timedelta
from pathlib import Path

from pcf.conf.defaults import *
from pcf.conf.environment import env, whole_number

BASE_DIR = Path(__file__).resolve().parent.parent
STATIC_ROOT = BASE_DIR / "staticfiles"

ROOT_URLCONF = "pcf.project.urls"
AUTH_USER_MODEL = "users.User"
INSTALLED_APPS = [*INSTALLED_APPS, "axes", "users", "tags", "notes", "web"]
MIDDLEWARE = [*MIDDLEWARE, "axes.middleware.AxesMiddleware"]  # answers locked-out log-ins

GRAPHQL_SERVICE = "pcf.project.schema.graphql_service"
GRAPHENE = {"SCHEMA": "pcf.project.schema.schema", "SCHEMA_OUTPUT": "schema.graphql"}

# After AXES_FAILURE_LIMIT failed log-ins of one account or from one address, axes refuses every
# password for AXES_COOLOFF_TIME. axes counts in PostgreSQL, so all workers share the count.
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "users.logins.PasswordBackend",
]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = ["username", "ip_address"]
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False  # a further attempt does not prolong the lock
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_CALLABLE = "users.logins.locked_out"
AXES_USERNAME_CALLABLE = "users.logins.account_name"
AXES_CLIENT_IP_CALLABLE = "users.logins.client_address"
AXES_VERBOSE = False
AXES_SENSITIVE_PARAMETERS = ["username"]  # logs mask it: people type passwords there by mistake
AXES_LOGGERS = {"axes": {"level": "WARNING"}}  # a line for a failure, none for a log-in
LOGGING["loggers"] |= AXES_LOGGERS

# Accounts (docs/guide/accounts.md). Who may sign up: open, invited, closed.
USERS_SIGN_UP = env.str("USERS_SIGN_UP", "open")
USERS_USERNAMES = env.bool("USERS_USERNAMES", True)  # False: no answer says whether one is taken
USERS_SITE = env.str("USERS_SITE", "http://127.0.0.1:8080/")  # the front end, for links in mails
USERS_ACCESS_LIFETIME = timedelta(minutes=15)
USERS_SESSION_LIFETIME = timedelta(days=30)  # since the last refresh
USERS_HASHING = 1  # passwords that a process hashes at once
USERS_MAILS = 10  # an hour to one address
PASSWORD_HASHERS = [
    "users.hashers.OneLaneArgon2Hasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",  # of passwords from before
]
PASSWORD_RESET_TIMEOUT = 3 * 3_600  # seconds that the link of a mail works
EMAIL_HOST = env.str("EMAIL_HOST", "localhost")
EMAIL_PORT = whole_number("EMAIL_PORT", 25, 1, 65_535)
EMAIL_HOST_USER = env.str("EMAIL_HOST_USER", "")
EMAIL_HOST_PASSWORD = env.str("EMAIL_HOST_PASSWORD", "")
EMAIL_USE_TLS = env.bool("EMAIL_USE_TLS", False)
EMAIL_TIMEOUT = 10  # seconds for a mail
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", "PCF <pcf@localhost>")

# The text search configuration of notes: one that PostgreSQL has (\dF in psql). After a change:
# manage.py rebuild_search
NOTES_SEARCH_CONFIG = "english"

# Days that a note stays in the trash before manage.py purge_trash deletes it.
NOTES_TRASH_DAYS = 30
