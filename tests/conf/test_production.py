"""Settings refuse values that cannot work or are not safe; the message names the variable."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GOOD = {
    "SECRET_KEY": "k" * 25 + "0123456789" * 3,
    "ALLOWED_HOSTS": "example.org",
    "DATABASE_URL": "postgres://pcf@db.example.org/pcf",
    "REDIS_URL": "redis://cache.example.org/0",
}


def load(module="settings.production", code=None, **changed):
    """Import a settings module with these variables; return the exit status and the output."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    values = {name: value for name, value in {**GOOD, **changed}.items() if value is not None}
    code = code or f"import {module} as s; print(s.PCF.timeouts.database, s.DEBUG)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**kept, **values},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


def test_good_values_are_accepted():
    assert load() == (0, "20.0 False\n")
    assert load(PCF_TIMEOUTS_DATABASE="7.5") == (0, "7.5 False\n")


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"SECRET_KEY": None}, "SECRET_KEY"),
        ({"SECRET_KEY": "short"}, "SECRET_KEY"),
        ({"SECRET_KEY": "development-only-" + "x" * 40}, "SECRET_KEY"),
        ({"SECRET_KEY": "a" * 77}, "SECRET_KEY"),
        ({"SECRET_KEY": "django-insecure-" + "0123456789" * 6}, "SECRET_KEY"),
        ({"ALLOWED_HOSTS": " , "}, "ALLOWED_HOSTS"),
        ({"ALLOWED_HOSTS": "a.example, *"}, "ALLOWED_HOSTS"),
        ({"REDIS_URL": "junk"}, "REDIS_URL"),
        ({"PCF_TIMOUTS_HTTP": "5"}, "PCF_TIMOUTS_HTTP"),
        ({"PCF_TIMEOUTS_MIN_DATABASE_BUDGET": "100"}, "min_database_budget"),
        ({"THREADS": "0"}, "THREADS"),
        ({"ALLOWED_HOSTS": None}, "ALLOWED_HOSTS"),
        ({"ALLOWED_HOSTS": "*"}, "ALLOWED_HOSTS"),
        ({"DATABASE_URL": None}, "DATABASE_URL"),
        ({"DATABASE_URL": "mysql://root@db/pcf"}, "DATABASE_URL"),
        ({"REDIS_URL": None}, "REDIS_URL"),
        ({"DEBUG": "1"}, "DEBUG"),
        ({"PCF_REQUESTS_SESSION_COOKIE": "session"}, "PCF_REQUESTS_SESSION_COOKIE"),
        ({"PCF_REQUESTS_SESSION_COOKIE": "__Secure-session"}, "PCF_REQUESTS_SESSION_COOKIE"),
        ({"PCF_REQUESTS_SESSION_COOKIE": "a b"}, "session_cookie"),
        ({"PCF_FEATURES_SLOW_QUERY": "1"}, "slow_query"),
        ({"PCF_FEATURES_DEMO_DATA": "1"}, "demo_data"),
        ({"PCF_TIMEOUTS_DATABASE": "25"}, "http > graphql > database"),
        ({"PCF_TIMEOUTS_HTTP": "soon"}, "PCF_TIMEOUTS_HTTP"),
        ({"PCF_LOADERS_MAX_BATCH_SIZE": "0"}, "max_batch_size"),
        ({"PCF_CACHE_GENERATION_TTL": "60"}, "generation_ttl"),
        ({"THREADS": "many"}, "THREADS"),
    ],
)
def test_values_that_are_missing_or_wrong_are_refused_by_name(changed, named):
    status, said = load(**changed)
    assert status != 0
    assert named in said.splitlines()[-1]


def test_development_needs_nothing():
    nothing = dict.fromkeys(GOOD)
    assert load("settings.development", **nothing) == (0, "20.0 True\n")


@pytest.mark.parametrize("name", ["SECRET_KEY", "DATABASE_URL", "REDIS_URL"])
def test_secrets_come_from_files(tmp_path, name):
    path = tmp_path / "secret"
    path.write_text(GOOD[name] + "\n")
    code = (
        "import settings.production as s; "
        "print(s.SECRET_KEY, s.DATABASES['default']['HOST'], s.CACHES['default']['LOCATION'])"
    )
    expected = f"{GOOD['SECRET_KEY']} db.example.org {GOOD['REDIS_URL']}\n"
    assert load(code=code, **{name: None, f"{name}_FILE": str(path)}) == (0, expected)


@pytest.mark.parametrize(
    ("content", "changed", "said"),
    [
        (None, {}, "SECRET_KEY_FILE cannot be read: No such file or directory"),
        (b"\xff\xfe", {}, "SECRET_KEY_FILE cannot be read: not a text in UTF-8"),
        (b"", {}, "production needs SECRET_KEY"),
        (b"short", {}, "SECRET_KEY must be 50 random characters"),
        (b"x", {"SECRET_KEY": GOOD["SECRET_KEY"]}, "SECRET_KEY and SECRET_KEY_FILE are both set"),
    ],
)
def test_wrong_files_with_secrets_are_refused_by_name(tmp_path, content, changed, said):
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    status, output = load(**{"SECRET_KEY": None, "SECRET_KEY_FILE": str(path), **changed})
    assert status != 0
    assert said in output.splitlines()[-1]
    assert "short" not in output.splitlines()[-1]


def test_cookies_are_for_https_and_this_host_alone():
    code = (
        "import settings.production as s; "
        "print([(s.SESSION_COOKIE_NAME, s.SESSION_COOKIE_SECURE, s.SESSION_COOKIE_AGE), "
        "(s.CSRF_COOKIE_NAME, s.CSRF_COOKIE_SECURE), s.PCF.requests.session_cookie, "
        "s.SECURE_HSTS_SECONDS >= 31536000])"
    )
    cookies = [("__Host-sessionid", True, 43_200), ("__Host-csrftoken", True), "__Host-session"]
    expected = [*cookies, True]
    assert load(code=code) == (0, f"{expected}\n")


@pytest.mark.parametrize(
    ("module", "expected"),
    [("settings.production", (False, False, True)), ("settings.development", (True, True, False))],
)
def test_only_development_tells_the_schema_and_only_production_limits_rates(module, expected):
    code = (
        f"from {module} import PCF; "
        "print((PCF.documents.introspection, PCF.documents.suggestions, PCF.rates.enabled))"
    )
    assert load(code=code) == (0, f"{expected}\n")
