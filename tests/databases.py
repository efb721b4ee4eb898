"""Databases that one test, or one server of a test, has for itself."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from django.conf import settings


@contextmanager
def throwaway_database(prefix: str) -> Iterator[str]:
    """Create a database and drop it at the end; yields its address."""
    given = settings.DATABASES["default"]
    name = f"{prefix}_{settings.RUN_ID}_{os.getpid()}"
    where = {
        key: value
        for key, value in (
            ("host", given["HOST"]),
            ("port", given["PORT"]),
            ("user", given["USER"]),
            ("password", given["PASSWORD"]),
        )
        if value
    }
    with psycopg.connect(dbname="postgres", autocommit=True, **where) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    user = given["USER"] + (f":{given['PASSWORD']}" if given["PASSWORD"] else "")
    host = given["HOST"].replace("/", "%2F")
    try:
        yield f"postgres://{user}@{host}:{given['PORT'] or 5432}/{name}"
    finally:
        with psycopg.connect(dbname="postgres", autocommit=True, **where) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
