"""``dev.py run``: run the service with its servers until a signal."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import http.client
import json
import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts.environment import ensure_venv
from scripts.folders import data_folder, server_account, throwaway
from scripts.project import ROOT, Project, provide_servers
from scripts.supervise import Child, Failure, Supervisor, tail

DEVELOPMENT = "settings.development"
CONNECTIONS = 100
READY_TIMEOUT = 60.0  # seconds from the start of gunicorn to a ready service
STOP_GRACE = 40.0  # seconds; more than gunicorn's graceful_timeout


@dataclass(frozen=True)
class Address:
    """The address that the service listens on."""

    host: str
    port: int

    @classmethod
    def from_environment(cls) -> Address:
        """Return the address of HOST (127.0.0.1) and PORT (8080). Raises Failure."""
        text = os.environ.get("PORT") or "8080"
        if not text.isascii() or not text.isdigit() or not 0 < int(text) < 1 << 16:
            raise Failure(f"PORT is {text!r}; it must be a number from 1 to 65535.")
        return cls(os.environ.get("HOST") or "127.0.0.1", int(text))

    @property
    def reachable(self) -> str:
        """A host to connect to: a loopback address if the service listens on all addresses."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared only

    @property
    def url(self) -> str:
        """The service's URL for a browser."""
        return (
            f"http://[{self.reachable}]:{self.port}"
            if ":" in self.reachable
            else f"http://{self.reachable}:{self.port}"
        )

    def require_free(self) -> None:
        """Raise Failure if no program can listen on the address."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        with socket.socket(family) as probe:
            # gunicorn sets this too; without it, connections in TIME_WAIT block the port
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self.host, self.port))
                probe.listen(1)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise Failure(
                        f"Port {self.port} on {self.host} is in use by another program. "
                        "Stop that program, or choose a port: make run PORT=8081"
                    ) from error
                raise Failure(
                    f"Cannot listen on {self.host}, port {self.port}: {error.strerror or error}."
                ) from error

    def is_ready(self) -> bool:
        """Return whether /readyz answers that the service is ready."""
        connection = http.client.HTTPConnection(self.reachable, self.port, timeout=5)
        try:
            connection.request("GET", "/readyz", headers={"Host": f"localhost:{self.port}"})
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


@contextlib.contextmanager
def only_one(root: Path, address: Address) -> Iterator[dict[str, object] | None]:
    """Yield None if no other run of this project exists, else the other run's information.

    A lock on a file decides. The content of the file is information for people.
    """
    path = root / ".pcf" / "run.lock"
    path.parent.mkdir(exist_ok=True)
    with path.open("a+") as stream:
        stream.seek(0)
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            try:
                yield dict(json.loads(stream.read()))
            except ValueError:
                yield {}
            return
        stream.truncate(0)
        stream.write(json.dumps({"pid": os.getpid(), "address": address.url}))
        stream.flush()
        try:
            yield None
        finally:
            stream.truncate(0)


def run(supervisor: Supervisor) -> int:
    """Run the service; return 0 if the project is already running.

    Raises Stop after a signal, and Failure when a process ends by itself.
    """
    address = Address.from_environment()
    with only_one(ROOT, address) as other:
        if other is not None:
            supervisor.say(
                f"already running: {other.get('address', 'just starting')} "
                f"(process {other.get('pid', 'unknown')}). "
                "Stop that process with Ctrl-C or kill. Nothing was started or changed."
            )
            return 0
        address.require_free()
        project = Project(ROOT, ensure_venv(ROOT, supervisor), supervisor)
        account = server_account()
        with throwaway(account) as folder:
            try:
                data = data_folder(ROOT, account)
                urls = provide_servers(project, folder, data, connections=CONNECTIONS)
                _serve(
                    project,
                    address,
                    folder,
                    {"DJANGO_SETTINGS_MODULE": DEVELOPMENT} | project.environment() | urls,
                )
            finally:
                supervisor.stop()
    return 0


def _serve(project: Project, address: Address, folder: Path, env: dict[str, str]) -> None:
    """Migrate, seed or collect static files, start gunicorn, wait for the end."""
    development = env["DJANGO_SETTINGS_MODULE"] == DEVELOPMENT
    _manage(project, folder, env, "migrate", "--noinput")
    if development:
        _manage(project, folder, env, "seed_demo")
    else:  # development serves static files from their own folders
        _manage(project, folder, env, "collectstatic", "--noinput")
    metrics = folder / "metrics"
    metrics.mkdir()
    # A killed gunicorn would leave a folder of its own behind; this one is removed in any case.
    env |= {
        "HOST": address.host,
        "PORT": str(address.port),
        "PROMETHEUS_MULTIPROC_DIR": str(metrics),
    }
    gunicorn = project.supervisor.start(
        "gunicorn",
        [project.python, "-m", "gunicorn", "-c", "gunicorn.conf.py", "pcf.asgi:application"],
        env=env,
        cwd=project.root,
        stop_signal=signal.SIGTERM,
        hurry_signal=signal.SIGINT,
        grace=STOP_GRACE,
    )
    project.supervisor.wait_until(
        address.is_ready,
        timeout=READY_TIMEOUT,
        what=f"{address.url}/readyz answering that the service is ready",
    )
    _welcome(project, address, gunicorn, env, development=development)
    project.supervisor.wait()


def _manage(project: Project, folder: Path, env: dict[str, str], *arguments: str) -> None:
    """Run a management command and print its last line. Raises Failure with all its output."""
    log = folder / f"{arguments[0]}.log"
    with log.open("wb") as output:
        argv = [str(project.python), "manage.py", *arguments]
        status = project.supervisor.call(argv, env=env, cwd=project.root, output=output)
    if status != 0:
        raise Failure(
            f"manage.py {arguments[0]} failed (exit status {status}):\n{tail(log, lines=200)}"
        )
    last = tail(log, lines=1).strip()
    project.say(f"{arguments[0]}: {last or 'done'}")


def _welcome(
    project: Project, address: Address, gunicorn: Child, env: dict[str, str], *, development: bool
) -> None:
    """Print the URLs and an example request."""
    url = address.url
    project.say(
        f"ready: {url} (gunicorn is process {gunicorn.process.pid}, its supervisor {os.getpid()})"
    )
    project.say("")
    project.say("try it:")
    query = '{"query": "{ users(first: 3) { id name notes(first: 2) { title tags { name } } } }"}'
    project.say(f"  curl -s {url}/graphql -H 'Content-Type: application/json' -d '{query}'")
    project.say(f"notes:      {url}/")
    if development:
        project.say(f"GraphiQL:   {url}/graphql")
        project.say(f"admin:      {url}/admin/ (user admin, password admin)")
        project.say("API token:  test-token, as in: -H 'Authorization: Bearer test-token'")
    project.say("for manage.py in another terminal:")
    project.say(f"  export DATABASE_URL={env['DATABASE_URL']} REDIS_URL={env['REDIS_URL']}")
    project.say("Ctrl-C stops everything.")
