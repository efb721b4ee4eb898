"""The service under load: started for the test, or already running; and the data in it."""

import contextlib
import http.client
import json
import os
import platform
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from benchmarks.load.generator import Target
from benchmarks.load.mix import World
from benchmarks.load.observe import listeners
from benchmarks.load.sessions import Viewer
from scripts.project import ROOT
from scripts.services import free_port
from scripts.supervise import Failure, Supervisor

LOCAL = ("127.0.0.1", "localhost")
PAGE = 100  # rows
MOST_USERS, MOST_NOTES = 1_000, 5_000  # ids that requests ask for at most
READY = 60.0  # seconds
GRACE = 40.0  # seconds; more than gunicorn's graceful_timeout


@dataclass(frozen=True, slots=True)
class Service:
    """A service: its address, viewers with tokens, its workers if they run on this machine."""

    target: Target
    viewers: list[Viewer]
    workers: list[int]
    description: str
    database: str = ""  # the URL of its database, if the test started the service

    @property
    def base_url(self) -> str:
        """The address without the path."""
        return f"http://{self.target.host}:{self.target.port}"


def running(url: str, tokens: list[str], *, remote: bool) -> Service:
    """Return the service at ``url``, whose viewers have no sessions.

    Raises Failure for an address that must not be loaded.
    """
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme != "http" or not parts.hostname:
        raise Failure(f"{url}: the address of a service looks like http://127.0.0.1:8080/graphql")
    if parts.hostname not in LOCAL and not remote:
        raise Failure(f"{url} is another machine. Add --remote if you may load it")
    path = parts.path if parts.path not in ("", "/") else "/graphql"
    target = Target(parts.hostname, parts.port or 80, path)
    viewers = [Viewer(token) for token in tokens]
    return Service(target, viewers, listeners(target.host, target.port), target.url)


@dataclass(frozen=True, slots=True)
class Database:
    """The database of a benchmark, on the server of DATABASE_URL."""

    url: str
    name: str

    def environment(self, env: Mapping[str, str]) -> dict[str, str]:
        """Return ``env`` with this database, a cache prefix for it, and production settings."""
        return dict(env) | {
            "DJANGO_SETTINGS_MODULE": "settings.production",
            "SECRET_KEY": secrets.token_urlsafe(48),
            "ALLOWED_HOSTS": ",".join(LOCAL),
            "DATABASE_URL": self.url,
            "PCF_CACHE_PREFIX": self.name,
            "PCF_RATES_TRUSTED_PROXIES": "1",  # the generator plays a proxy
        }

    def prepare(
        self, supervisor: Supervisor, env: Mapping[str, str], folder: Path, *, tokens: int
    ) -> list[Viewer]:
        """Migrate and seed the database; return the first users with tokens. Raises Failure."""
        supervisor.say("migrating and seeding the benchmark's database")
        log, prepared = folder / "prepare.log", folder / "viewers.json"
        with log.open("wb") as output:
            argv = [sys.executable, "-m", "benchmarks.load.prepare", str(tokens), str(prepared)]
            if supervisor.call(argv, env=env, cwd=ROOT, output=output):
                raise Failure(f"the data could not be prepared:\n{log.read_text()}")
        static = [sys.executable, "manage.py", "collectstatic", "--noinput", "--verbosity", "0"]
        if supervisor.call(static, env=env, cwd=ROOT):
            raise Failure("collectstatic failed")
        return [Viewer(**viewer) for viewer in json.loads(prepared.read_text())]


@contextlib.contextmanager
def own_database() -> Iterator[Database]:
    """Create a database and drop it at the end. Its users must have stopped by then."""
    import psycopg  # noqa: PLC0415 - a running service needs no database

    given = os.environ.get("DATABASE_URL", "")
    name = f"pcf_load_{os.getpid()}"
    with psycopg.connect(given, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    try:
        yield Database(urlunsplit(urlsplit(given)._replace(path=f"/{name}")), name)
    finally:
        with psycopg.connect(given, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@contextlib.contextmanager
def own(
    supervisor: Supervisor, tokens: int, extra: Mapping[str, str] | None = None
) -> Iterator[Service]:
    """Start a service with production settings and a new database; remove both at the end.

    ``extra`` is added to its environment.
    """
    with (
        own_database() as database,
        tempfile.TemporaryDirectory(prefix="pcf-load-") as folder,
    ):
        env = database.environment(os.environ) | dict(extra or {})
        try:
            made = database.prepare(supervisor, env, Path(folder), tokens=tokens)
            yield _serve(supervisor, Path(folder), env, made)
        finally:
            supervisor.stop()


def _serve(
    supervisor: Supervisor, folder: Path, env: dict[str, str], viewers: list[Viewer]
) -> Service:
    """Start gunicorn and wait until the service is ready."""
    port = free_port()
    metrics = folder / "metrics"
    metrics.mkdir()
    env |= {"HOST": "127.0.0.1", "PORT": str(port), "PROMETHEUS_MULTIPROC_DIR": str(metrics)}
    supervisor.start(
        "gunicorn",
        [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "pcf.asgi:application"],
        env=env,
        cwd=ROOT,
        log=folder / "gunicorn.log",
        stop_signal=signal.SIGTERM,
        hurry_signal=signal.SIGINT,
        grace=GRACE,
    )
    target = Target("127.0.0.1", port, "/graphql")
    supervisor.wait_until(
        lambda: _is_ready(target), timeout=READY, what=f"{target.url} being ready"
    )
    description = (
        f"started for the test, {env.get('WORKERS') or 2} workers with "
        f"{env.get('THREADS') or 8} threads, production settings, "
        f"Python {platform.python_version()}, {_version()}"
    )
    return Service(target, viewers, listeners(target.host, port), description, env["DATABASE_URL"])


def _version() -> str:
    """Return the commit that is checked out, as text for people."""
    with contextlib.suppress(OSError):
        argv = ["git", "describe", "--always", "--dirty"]
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
        return f"commit {done.stdout.strip() or 'unknown'}"
    return "commit unknown"


def _is_ready(target: Target) -> bool:
    connection = http.client.HTTPConnection(target.host, target.port, timeout=5)
    try:
        connection.request("GET", "/readyz", headers={"X-Forwarded-Proto": "https"})
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def explore(service: Service) -> World:
    """Ask the service for the data that requests may use. Raises Failure without an answer."""
    target = service.target
    connection = http.client.HTTPConnection(target.host, target.port, timeout=30)
    try:
        users = _pages(connection, target.path, "users", MOST_USERS)
        notes = _pages(connection, target.path, "notes", MOST_NOTES)
        tags = _ask(connection, target.path, "{ tags(first: 100) { name } }")["tags"]
        viewers = []
        query = "{ me { notes(first: 100) { id } } }"
        for viewer in service.viewers:
            me = _ask(connection, target.path, query, viewer.token)["me"]
            if me and me["notes"]:
                own_notes = [note["id"] for note in me["notes"]]
                viewers.append(replace(viewer, own_notes=own_notes))
    except (OSError, http.client.HTTPException, KeyError, ValueError) as error:
        raise Failure(f"{target.url} cannot be asked for its data: {error!r}") from error
    finally:
        connection.close()
    if not users or not notes or not tags:
        raise Failure(f"{target.url} has no users, notes or tags to ask for")
    return World(users, notes, [tag["name"] for tag in tags], viewers)


def _pages(connection: http.client.HTTPConnection, path: str, field: str, most: int) -> list[str]:
    ids: list[str] = []
    while len(ids) < most:
        after = f', after: "{ids[-1]}"' if ids else ""
        rows = _ask(connection, path, f"{{ {field}(first: {PAGE}{after}) {{ id }} }}")[field]
        ids += [row["id"] for row in rows]
        if len(rows) < PAGE:
            break
    return ids[:most]


def _ask(
    connection: http.client.HTTPConnection, path: str, query: str, token: str | None = None
) -> Any:
    headers = {"Content-Type": "application/json", "X-Forwarded-Proto": "https"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    connection.request("POST", path, json.dumps({"query": query}), headers)
    answer = json.loads(connection.getresponse().read())
    if answer.get("errors"):
        raise ValueError(answer["errors"][0]["message"])
    return answer["data"]
