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


class Service:
    """A service on a port of its own. It writes mails to ``output``."""

    process: subprocess.Popen[bytes]

    def __init__(self, env: dict[str, str], output: IO[str] | None) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://localhost:{port}"
        self._env = {**env, "PORT": str(port)}
        self._output = output

    def start(self) -> None:
        """Start the service, and wait until it is ready."""
        program = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py"]
        self.process = subprocess.Popen(
            [*program, "pcf.asgi:application"], cwd=ROOT, env=self._env, stdout=self._output
        )
        wait_until_ready(self.url)

    def stop(self) -> None:
        """End the service, and wait for its end."""
        self.process.terminate()
        self.process.wait(PATIENCE)


@contextmanager
def service(env: dict[str, str], output: IO[str] | None = None) -> Iterator[Service]:
    """Start a service, and end it after the block."""
    running = Service(env, output)
    try:
        running.start()
        yield running
    finally:
        running.stop()


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
