"""The peers: their installation and their servers."""

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib import metadata
from pathlib import Path

from benchmarks.peers.cases import SMALL, Ask
from benchmarks.peers.measure import PeerError, ask, connect
from scripts.environment import base_python
from scripts.project import ROOT
from scripts.services import free_port
from scripts.supervise import Failure, Supervisor, tail

HERE = Path(__file__).resolve().parent
HOME = ROOT / ".pcf" / "peers"  # installed packages; a change of the requirements replaces them
READY = 60.0  # seconds
ALL = frozenset({"small, uncached", "graph, uncached", "small, hit", "graph, hit", "mixed"})
CACHED = frozenset({"small, hit", "graph, hit", "mixed"})
UNCACHED = frozenset({"small, uncached", "graph, uncached", "mixed"})


@dataclass(frozen=True, slots=True)
class Peer:
    """One server of the comparison."""

    name: str
    kind: str  # pcf, django, wsgi or node
    what: str  # the Django project's or WSGI application's name
    cases: frozenset[str]
    package: str = ""  # the package whose version the table shows
    integers: bool = False  # ids are integers
    cache: str = ""  # CACHE in its environment


PEERS = (
    Peer("PCF", "pcf", "", ALL),
    Peer("graphene-django, promise loaders", "django", "graphene", UNCACHED, "graphene-django"),
    Peer(
        "strawberry-django, optimizer",
        "django",
        "strawberry",
        UNCACHED,
        "strawberry-graphql-django",
    ),
    Peer("Undine, optimizer", "django", "undine", UNCACHED, "undine", integers=True),
    Peer("Undine, request cache", "django", "undine", CACHED, "undine", integers=True, cache="300"),
    Peer("Mercurius, loaders, JIT", "node", "", UNCACHED, "mercurius"),
    Peer(
        "Mercurius with mercurius-cache",
        "node",
        "",
        CACHED,
        "mercurius-cache",
        cache="all",
    ),
    Peer(
        "limit: one json_agg statement",
        "wsgi",
        "json_agg",
        frozenset({"small, uncached", "graph, uncached"}),
    ),
    Peer("limit: bytes that are ready", "wsgi", "bare", frozenset({"small, hit", "graph, hit"})),
)


class Programs:
    """The Python and Node packages of the peers."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self.python = HOME / "venv" / "bin" / "python"
        self.node = HOME / "node"
        self.has_node = bool(shutil.which("node") and shutil.which("npm"))

    def install(self) -> None:
        """Install packages that are missing or out of date. Raises Failure."""
        self._once("venv", HERE / "requirements.txt", self._install_python)
        if self.has_node:
            self._once("node", HERE / "node" / "package.json", self._install_node)
            shutil.copy(HERE / "node" / "server.js", self.node)
        else:
            self._supervisor.say(
                "node or npm is missing; the comparison leaves out the peers that need them"
            )

    def _once(self, name: str, requirements: Path, install: Callable[[Path], None]) -> None:
        wanted = sha256(requirements.read_bytes()).hexdigest()
        stamp = HOME / f"{name}.stamp"
        if stamp.is_file() and stamp.read_text() == wanted:
            return
        self._supervisor.say(f"installing the peers of {requirements.relative_to(ROOT)}")
        shutil.rmtree(HOME / name, ignore_errors=True)
        (HOME / name).mkdir(parents=True)
        install(requirements)
        stamp.write_text(wanted)

    def _call(self, *argv: str | Path, cwd: Path = ROOT) -> None:
        log = HOME / "install.log"
        env = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        with log.open("wb") as output:
            if self._supervisor.call(argv, env=env, cwd=cwd, output=output) != 0:
                raise Failure(f"installing the peers failed; the end of {log}:\n{tail(log)}")

    def _install_python(self, requirements: Path) -> None:
        self._call(base_python(), "-m", "venv", HOME / "venv")
        self._call(
            self.python, "-m", "pip", "install", "--quiet", "--require-hashes",
            "--disable-pip-version-check", "--no-input", "-r", requirements,
        )  # fmt: skip

    def _install_node(self, requirements: Path) -> None:
        shutil.copy(requirements, self.node)
        self._call(
            "npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts",
            cwd=self.node,
        )  # fmt: skip

    def version(self, peer: Peer) -> str:
        """Return the version of a peer's package; an empty text for a peer without a package."""
        if not peer.package:
            return ""
        if peer.kind == "node":
            path = self.node / "node_modules" / peer.package / "package.json"
            return str(json.loads(path.read_text())["version"])
        found = metadata.distributions(
            name=peer.package, path=[str(p) for p in (HOME / "venv").glob("lib/*/site-packages")]
        )
        return next(iter(found)).version


class Running:
    """The running peers. All run at the same time; idle ones take no processor time."""

    def __init__(self, supervisor: Supervisor, programs: Programs, env: Mapping[str, str]) -> None:
        self._supervisor = supervisor
        self._programs = programs
        self._env = dict(env) | {
            "DJANGO_SETTINGS_MODULE": "settings.production",
            "SECRET_KEY": secrets.token_urlsafe(48),
            "ALLOWED_HOSTS": "127.0.0.1",
            "SECURE_SSL_REDIRECT": "false",
            "HOST": "127.0.0.1",
            "WORKERS": env.get("WORKERS") or "2",
            "NODE_ENV": "production",
            # all requests come from one client, and the peers have no such limits
            "PCF_RATES_ENABLED": "false",
            "PCF_REQUESTS_MAX_CONCURRENT": "0",
        }
        self.ports: dict[Peer, int] = {}
        self.workers = self._env["WORKERS"]

    def start(self, peer: Peer, folder: Path) -> None:
        """Start a peer and wait for its first answer. Raises Failure."""
        port = free_port()
        metrics = folder / f"metrics-{port}"
        metrics.mkdir()
        env = self._env | {"PORT": str(port), "PROMETHEUS_MULTIPROC_DIR": str(metrics)}
        gunicorn: list[str | Path] = [self._programs.python, "-m", "gunicorn"]
        cwd = ROOT
        if peer.kind == "node":
            argv: list[str | Path] = ["node", "server.js"]
            cwd = self._programs.node
        elif peer.kind == "wsgi":
            argv = [*gunicorn, "-c", "benchmarks/peers/python/gunicorn_settings.py"]
            argv += [f"benchmarks.peers.python.limits:{peer.what}"]
        else:
            argv = [*gunicorn, "-c", "gunicorn.conf.py", "pcf.asgi:application"]
        if peer.kind == "django":
            argv = [*gunicorn, "-c", "benchmarks/peers/python/gunicorn_settings.py"]
            argv += ["benchmarks.peers.python.wsgi:application"]
            env |= {"DJANGO_SETTINGS_MODULE": "benchmarks.peers.python.settings", "PEER": peer.what}
        env["CACHE"] = peer.cache
        log = folder / f"{port}.log"
        self._supervisor.start(peer.name, argv, env=env, cwd=cwd, log=log, grace=40)
        self.ports[peer] = port
        self._supervisor.wait_until(
            lambda: _answers(port, peer), timeout=READY, what=f"{peer.name} answering"
        )


def _answers(port: int, peer: Peer) -> bool:
    try:
        with connect(port) as sock:
            return b'"data"' in ask(sock, Ask(SMALL, {"id": "1"}).encode(integers=peer.integers))
    except (OSError, PeerError):
        return False


def node_version() -> str:
    """Return the version of Node; an empty text without Node."""
    try:
        done = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()
