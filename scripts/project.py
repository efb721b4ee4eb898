"""The project as the commands of scripts/dev.py see it: its folder, its Python, its servers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from scripts.folders import own, server_account
from scripts.programs import Search, find_postgres, find_redis
from scripts.services import start_postgres, start_redis
from scripts.supervise import Say, Supervisor

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Project:
    """The project's folder, its Python, and the supervisor of its processes."""

    root: Path
    python: Path
    supervisor: Supervisor

    @property
    def say(self) -> Say:
        """The function that prints one line for people."""
        return self.supervisor.say

    def environment(self) -> dict[str, str]:
        """Return the caller's environment with the programs of .venv first on PATH."""
        path = f"{self.python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        return dict(os.environ) | {"PATH": path, "VIRTUAL_ENV": str(self.python.parent.parent)}


def provide_servers(
    project: Project, folder: Path, data: Path | None, *, connections: int, durable: bool = False
) -> dict[str, str]:
    """Start a server for each of DATABASE_URL and REDIS_URL that is not set; return both URLs.

    PostgreSQL keeps a durable cluster in ``data``. Without ``data`` it makes a throw-away cluster
    in ``folder``, which is fast but not safe from crashes unless ``durable``. Redis stores nothing
    on disk. Raises Failure when a server program is missing or does not start.
    """
    account = server_account()
    search = Search(
        project.root / ".venv", os.environ.get("PATH", ""), only=os.environ.get("PCF_SERVICES", "")
    )
    database, redis = (os.environ.get(name, "") for name in ("DATABASE_URL", "REDIS_URL"))
    # Both programs are searched before a server starts, so that a missing one fails early.
    postgres_programs = None if database else find_postgres(search, account)
    redis_programs = None if redis else find_redis(search, account)
    if postgres_programs:
        home = data or own(folder / "postgresql", account)
        database = start_postgres(
            project.supervisor,
            postgres_programs,
            home,
            durable=durable or data is not None,
            connections=connections,
        )
        project.say(
            f"PostgreSQL {postgres_programs.version} ({postgres_programs.origin}): {database}"
        )
    else:
        project.say("PostgreSQL: the server of DATABASE_URL")
    if redis_programs:
        redis = start_redis(project.supervisor, redis_programs, folder)
        project.say(f"Redis protocol {redis_programs.version} ({redis_programs.origin}): {redis}")
    else:
        project.say("Redis: the server of REDIS_URL")
    return {"DATABASE_URL": database, "REDIS_URL": redis}
