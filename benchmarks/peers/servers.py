"""The peers: their installation and their servers."""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib import metadata
from pathlib import Path

from benchmarks.peers.cases import NOTE, Ask
from benchmarks.peers.measure import PeerError, ask, connect
from scripts.environment import base_python
from scripts.project import ROOT
from scripts.services import free_port
from scripts.supervise import Failure, Supervisor, tail

HERE = Path(__file__).resolve().parent
HOME = ROOT / ".pcf" / "peers"  # installed packages; a change of the requirements replaces them
READY = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Peer:
    """One server of the comparison."""

    name: str
    kind: str  # pcf, django or node
    what: str = ""  # the Django project's name, or the server's file without .js
    package: str = ""  # the package whose version the table shows
    integers: bool = False  # ids are integers
    oldest_node: int = 0  # the first version of Node that can run the server
    folder: str = "node"  # the folder of its packages


PCF = Peer("PCF", "pcf")
MERCURIUS = Peer("Mercurius", "node", "mercurius", "mercurius", oldest_node=20)
YOGA = Peer("Yoga", "node", "yoga", "graphql-yoga", oldest_node=20)
PEERS = (
    PCF,
    MERCURIUS,
    YOGA,
    Peer("PostGraphile", "node", "postgraphile", "postgraphile", oldest_node=22,
         folder="postgraphile"),
    Peer("strawberry-django", "django", "strawberry", "strawberry-graphql-django"),
    Peer("Undine", "django", "undine", "undine", integers=True),
)  # fmt: skip


def node_version() -> str:
    """Return the version of Node; an empty text without Node or without npm."""
    if not shutil.which("npm"):
        return ""
    try:
        done = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()


def reason_without(peer: Peer, version: str) -> str:
    """Return why a peer is left out under this version of Node; an empty text if it takes part."""
    found = re.match(r"v(\d+)\.", version)
    if peer.kind != "node" or (found and int(found[1]) >= peer.oldest_node):
        return ""
    needed = f"{peer.name} is left out: it needs npm and Node {peer.oldest_node} or later"
    return f"{needed}; this is Node {version}" if version else needed


class Programs:
    """The Python and Node packages of the peers."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self.python = HOME / "venv" / "bin" / "python"
        version = node_version()
        reasons = {peer: reason_without(peer, version) for peer in PEERS}
        self.peers = [peer for peer, reason in reasons.items() if not reason]
        self.left_out = [reason for reason in reasons.values() if reason]

    def install(self) -> None:
        """Install packages that are missing or out of date. Raises Failure."""
        for reason in self.left_out:
            self._supervisor.say(reason)
        self._once("venv", [HERE / "requirements.txt"], self._install_python)
        for folder in dict.fromkeys(peer.folder for peer in self.peers if peer.kind == "node"):
            source = HERE / "node" if folder == "node" else HERE / "node" / folder
            files = [source / "package.json", source / "package-lock.json"]
            self._once(folder, files, self._install_node)
            for program in (HERE / "node").glob("*.js"):
                shutil.copy(program, HOME / folder)

    def _once(self, name: str, files: list[Path], install: Callable[[list[Path]], None]) -> None:
        wanted = sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
        stamp = HOME / f"{name}.stamp"
        if stamp.is_file() and stamp.read_text() == wanted:
            return
        self._supervisor.say(f"installing the peers of {files[-1].relative_to(ROOT)}")
        shutil.rmtree(HOME / name, ignore_errors=True)
        (HOME / name).mkdir(parents=True)
        install(files)
        stamp.write_text(wanted)

    def _call(self, *argv: str | Path, cwd: Path = ROOT) -> None:
        log = HOME / "install.log"
        env = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        with log.open("wb") as output:
            if self._supervisor.call(argv, env=env, cwd=cwd, output=output) != 0:
                raise Failure(f"installing the peers failed; the end of {log}:\n{tail(log)}")

    def _install_python(self, files: list[Path]) -> None:
        self._call(base_python(), "-m", "venv", HOME / "venv")
        self._call(
            self.python, "-m", "pip", "install", "--quiet", "--require-hashes",
            "--disable-pip-version-check", "--no-input", "-r", *files,
        )  # fmt: skip

    def _install_node(self, files: list[Path]) -> None:
        folder = HOME / (files[0].parent.name)
        for file in files:
            shutil.copy(file, folder)
        self._call("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", cwd=folder)

    def version(self, peer: Peer) -> str:
        """Return the version of a peer's package; an empty text for a peer without a package."""
        if not peer.package:
            return ""
        if peer.kind == "node":
            path = HOME / peer.folder / "node_modules" / peer.package / "package.json"
            return str(json.loads(path.read_text())["version"])
        found = metadata.distributions(
            name=peer.package, path=[str(p) for p in (HOME / "venv").glob("lib/*/site-packages")]
        )
        return next(iter(found)).version


class Running:
    """The running peers. All run at the same time; idle ones take hardly any processor time."""

    def __init__(self, supervisor: Supervisor, programs: Programs, env: Mapping[str, str]) -> None:
        self._supervisor = supervisor
        self._programs = programs
        self.workers = env.get("WORKERS") or "1"
        limits = {  # all requests come from one client, and the peers have no such limits
            "PCF_RATES_ENABLED": "false",
            "PCF_REQUESTS_MAX_CONCURRENT": "0",
        }
        self._env = (
            limits
            | dict(env)
            | {
                "DJANGO_SETTINGS_MODULE": "settings.production",
                "DEBUG": "0",
                "SECRET_KEY": secrets.token_urlsafe(48),
                "ALLOWED_HOSTS": "127.0.0.1",
                "HOST": "127.0.0.1",
                "WORKERS": self.workers,
                "NODE_ENV": "production",
                "GRAPHILE_ENV": "production",
            }
        )
        self.ports: dict[Peer, int] = {}

    def start(self, peer: Peer, folder: Path) -> None:
        """Start a peer and wait for its first answer. Raises Failure."""
        port = free_port()
        metrics = folder / f"metrics-{port}"
        metrics.mkdir()
        env = self._env | {"PORT": str(port), "PROMETHEUS_MULTIPROC_DIR": str(metrics)}
        cwd = ROOT
        if peer.kind == "node":
            argv: list[str | Path] = ["node", f"{peer.what}.js"]
            cwd = HOME / peer.folder
        elif peer.kind == "django":
            argv = [self._programs.python, "-m", "gunicorn"]
            argv += ["-c", "benchmarks/peers/python/gunicorn_settings.py"]
            argv += ["benchmarks.peers.python.wsgi:application"]
            env |= {"DJANGO_SETTINGS_MODULE": "benchmarks.peers.python.settings", "PEER": peer.what}
        else:
            argv = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py"]
            argv += ["pcf.asgi:application"]
        log = folder / f"{port}.log"
        self._supervisor.start(peer.name, argv, env=env, cwd=cwd, log=log, grace=40)
        self.ports[peer] = port
        self._supervisor.wait_until(
            lambda: _answers(port, peer), timeout=READY, what=f"{peer.name} answering"
        )


def _answers(port: int, peer: Peer) -> bool:
    try:
        with connect(port) as sock:
            return b'"data"' in ask(sock, Ask(NOTE, {"id": "1"}).encode(integers=peer.integers))
    except (OSError, PeerError):
        return False
