"""Databases that one test, or one server of a test, has for itself."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from psycopg.sql import SQL, Identifier

ROOT = Path(__file__).resolve().parents[1]
# All processes of a run know the run by this id. Without it, each process is a run of its own.
RUN = os.environ.get("PCF_TEST_RUN_ID", "")


@contextmanager
def throwaway_database(prefix: str) -> Iterator[str]:
    """Create an empty database and drop it at the end; yields its address."""
    with _database(prefix, "template1") as address:
        yield address


@contextmanager
def seeded_database(prefix: str) -> Iterator[str]:
    """Create a database with all tables and the demo data, drop it at the end; yields its address.

    It is a copy of a database that a run makes once.
    """
    with _database(prefix, _seeded_template()) as address:
        yield address


def drop_template() -> None:
    """Drop the database that ``seeded_database`` copies. The process that ends a run calls this."""
    with _server() as connection:
        connection.execute(SQL("DROP DATABASE IF EXISTS {}").format(Identifier(_template_name())))


def manage(environment: dict[str, str], *arguments: str) -> str:
    """Run a management command of the project; return what it prints."""
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def _database(prefix: str, template: str) -> Iterator[str]:
    name = f"{prefix}_{settings.RUN_ID}_{os.getpid()}"
    with _server() as connection:
        create = SQL("CREATE DATABASE {} TEMPLATE {}")
        connection.execute(create.format(Identifier(name), Identifier(template)))
    try:
        yield _address(name)
    finally:
        with _server() as connection:
            connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


def _seeded_template() -> str:
    """Return the name of the run's database with demo data. Make it if no process has made it."""
    name = _template_name()
    with _server() as connection:
        # The session's end gives the lock back.
        connection.execute("SELECT pg_advisory_lock(hashtext(%s))", [name])
        is_whole = "SELECT 1 FROM pg_database WHERE datname = %s AND NOT datallowconn"
        if connection.execute(is_whole, [name]).fetchone():
            return name
        connection.execute(SQL("DROP DATABASE IF EXISTS {}").format(Identifier(name)))
        connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("PCF_", "PROMETHEUS_"))},
            "DJANGO_SETTINGS_MODULE": "settings.development",
            "DATABASE_URL": _address(name),
            "PCF_CACHE_PREFIX": f"{settings.PCF.cache.prefix}-template",
        }
        manage(environment, "migrate", "--verbosity", "0")
        manage(environment, "seed_demo")
        # PostgreSQL copies no database that has a session.
        connection.execute(
            SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(Identifier(name))
        )
    return name


def _template_name() -> str:
    return f"seeded_{RUN or settings.RUN_ID}"


def _server() -> Any:
    """Return a connection to the server of the tests."""
    given = settings.DATABASES["default"]
    keys = {"host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD"}
    where = {key: given[name] for key, name in keys.items() if given[name]}
    return psycopg.connect(dbname="postgres", autocommit=True, **where)


def _address(name: str) -> str:
    given = settings.DATABASES["default"]
    user = given["USER"] + (f":{given['PASSWORD']}" if given["PASSWORD"] else "")
    host = given["HOST"].replace("/", "%2F")
    return f"postgres://{user}@{host}:{given['PORT'] or 5432}/{name}"
