"""Services for the tests in a browser: development with demo data, production on a new database."""

import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psycopg
from psycopg.sql import SQL, Identifier

from tests.browser.chromium import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = secrets.token_urlsafe()  # of the superuser in production


def development() -> dict[str, str]:
    return os.environ | {"DJANGO_SETTINGS_MODULE": "settings.development"}


def production(database: str) -> dict[str, str]:
    """Return the environment of production, with a new database of this name."""
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as server:
        server.execute(SQL("CREATE DATABASE {}").format(Identifier(database)))
    return os.environ | {
        "DJANGO_SETTINGS_MODULE": "settings.production",
        "DATABASE_URL": os.environ["DATABASE_URL"].rpartition("/")[0] + f"/{database}",
        "PCF_CACHE_PREFIX": database,
        "SECRET_KEY": secrets.token_urlsafe(64),
        "ALLOWED_HOSTS": "localhost",
        "SECURE_SSL_REDIRECT": "false",  # browsers treat 127.0.0.1 as secure over HTTP, too
        "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
    }


def manage(env: dict[str, str], *command: str) -> str:
    """Run a management command and return its output."""
    run = [sys.executable, "manage.py", *command]
    return subprocess.run(
        run, cwd=ROOT, env=env, check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()


@contextmanager
def service(env: dict[str, str], output: IO[str] | None = None) -> Iterator[str]:
    """Start a service and yield its URL. It writes mails to ``output``."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    gunicorn = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "pcf.asgi:application"]
    with subprocess.Popen(
        gunicorn, cwd=ROOT, env={**env, "PORT": str(port)}, stdout=output
    ) as process:
        try:
            url = f"http://localhost:{port}"
            wait_until_ready(url)
            yield url
        finally:
            process.terminate()


def wait_until_ready(url: str) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(url + "/readyz", timeout=5):
                return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
