"""Servers that can be stopped, killed, frozen, promoted: PostgreSQL, replicas, Redis, gunicorn.

They are processes of their own on free ports of 127.0.0.1, with their data in a folder that the
caller removes. A PostgreSQL whose folder is gone ends by itself.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import psycopg

from scripts.folders import own, server_account
from scripts.programs import Programs, Search, find_postgres, find_redis
from scripts.project import ROOT
from scripts.services import free_port
from scripts.supervise import tail

PATIENCE = 60.0  # seconds that anything may take to start or stop on a busy machine
_PAUSE = 0.02

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "log_min_messages": "warning",
    "wal_level": "replica",
    "max_wal_senders": "10",
    "hot_standby": "on",
    "wal_receiver_timeout": "5s",
    "wal_retrieve_retry_interval": "200ms",
    "shared_buffers": "32MB",
    "fsync": "off",  # what a process has written survives its death, though not the machine's
}


def wait_for(what: str, ready: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """What ``ready`` returns as soon as it is true. Raises TimeoutError naming ``what``."""
    deadline = time.monotonic() + seconds
    while True:
        found = ready()
        if found:
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(_PAUSE)


def _search() -> Search:
    return Search(
        ROOT / ".venv", os.environ.get("PATH", ""), only=os.environ.get("PCF_SERVICES", "")
    )


class Process(ABC):
    """A server process and the ways to break it."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """The command line."""

    @abstractmethod
    def ready(self) -> bool:
        """Whether it serves."""

    def environment(self) -> Mapping[str, str]:
        """The process's environment."""
        return dict(os.environ) | {"LC_ALL": "C"}

    def launch(self) -> None:
        """Start it, without waiting until it serves."""
        account = server_account() if self.runs_as_server else None
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command(),
                env=dict(self.environment()),
                cwd=ROOT if account is None else "/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            )

    runs_as_server = True

    def start(self) -> Self:
        """Start it and wait until it serves."""
        self.launch()
        self.wait_ready()
        return self

    def wait_ready(self) -> None:
        """Wait until it serves. Raises RuntimeError with the end of its log when it ended."""

        def looks() -> bool:
            if self.process is None or self.process.poll() is not None:
                raise RuntimeError(f"{type(self).__name__} ended:\n{tail(self.log)}")
            return self.ready()

        wait_for(f"{type(self).__name__} ready", looks)

    def signal(self, signum: signal.Signals) -> None:
        """Send a signal to the process itself."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signum)

    def wait_end(self) -> int:
        """Wait until it has ended; its exit status."""
        assert self.process is not None  # noqa: S101 - it was started
        return self.process.wait(PATIENCE)

    def signal_all(self, signum: signal.Signals) -> None:
        """Send a signal to the process and all its children: some have sessions of their own."""
        if self.process is None:
            return
        for pid in (self.process.pid, *_descendants(self.process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signum)

    def freeze(self) -> None:
        """It does nothing any more, and closes nothing either."""
        self.signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """End of ``freeze``."""
        self.signal_all(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL to all of it, as the kernel does when memory runs out."""
        if self.process is not None and self.process.poll() is None:
            self.signal_all(signal.SIGKILL)
            self.wait_end()

    def close(self) -> None:
        """End it however it is."""
        self.kill()


def _descendants(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    found = [int(child) for child in children]
    return found + [deeper for child in found for deeper in _descendants(child)]


class Postgres(Process):
    """A cluster of its own, called ``name`` inside ``folder``."""

    def __init__(self, folder: Path, name: str, **settings: str) -> None:
        super().__init__(folder / f"{name}.log")
        self.programs: Programs = find_postgres(_search(), server_account())
        self.home = own(folder / "postgresql", server_account())
        self.data = self.home / name
        self.port = free_port()
        self.settings = SETTINGS | settings | {"port": str(self.port)}

    def command(self) -> list[str]:
        """The server in the foreground."""
        options = [
            part for key, value in self.settings.items() for part in ("-c", f"{key}={value}")
        ]
        return [str(self.programs.server), "-D", str(self.data), *options]

    def ready(self) -> bool:
        """Whether a connection can be had; a standby's, too."""
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def url(self, database: str = "postgres") -> str:
        """The address for clients."""
        return f"postgres://postgres@127.0.0.1:{self.port}/{database}"

    def create(self) -> Self:
        """Make the cluster."""
        self._run(
            "initdb", "-D", str(self.data), "-U", "postgres", "--auth=trust", "-E", "UTF8",
            "--locale=C", "--no-sync",
        )  # fmt: skip
        return self

    def replicate(self, primary: Postgres) -> Self:
        """Make the cluster a streaming replica of ``primary``, which runs."""
        self._run(
            "pg_basebackup", "-d", primary.url(), "-D", str(self.data), "--write-recovery-conf",
            "--checkpoint=fast", "--no-sync", "--wal-method=stream",
        )  # fmt: skip
        return self

    def _run(self, program: str, *arguments: str) -> None:
        account = self.programs.account
        done = subprocess.run(
            [str(self.programs.server.with_name(program)), *arguments],
            env=dict(self.environment()),
            cwd="/",
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr}")

    def execute(self, sql: str, database: str = "postgres", parameters: Any = None) -> list[Any]:
        """The rows of a statement, on a connection of its own."""
        where = {"host": "127.0.0.1", "port": self.port, "user": "postgres", "dbname": database}
        with psycopg.connect(**where, autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(sql, parameters)
            return cursor.fetchall() if cursor.description else []

    def stop(self) -> None:
        """A fast shutdown: clients are cut off, everything is written."""
        self.signal(signal.SIGINT)
        self.wait_end()

    def promote(self) -> None:
        """Make a replica a primary of its own."""
        self.execute("SELECT pg_promote(wait => true)")

    def position(self) -> int:
        """The end of its WAL in bytes: written by a primary, replayed by a replica."""
        sql = """
            SELECT ((CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                     ELSE pg_current_wal_insert_lsn() END) - '0/0')::bigint"""
        return int(self.execute(sql)[0][0])

    def close(self) -> None:
        """End it at once and forget its data."""
        super().close()
        shutil.rmtree(self.data, ignore_errors=True)


class Redis(Process):
    """A Redis-protocol server that keeps everything in memory."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "redis.log")
        self.programs = find_redis(_search(), server_account())
        self.port = free_port()

    def command(self) -> list[str]:
        """The server in the foreground."""
        options = {
            "port": self.port,
            "bind": "127.0.0.1",
            "save": "",
            "appendonly": "no",
            "dir": "/",
        }
        settings = [str(part) for key, value in options.items() for part in (f"--{key}", value)]
        return [str(self.programs.server), *settings]

    def ready(self) -> bool:
        """Whether it answers."""
        import redis  # noqa: PLC0415 - only where it is used

        try:
            with redis.Redis(port=self.port, socket_timeout=1) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    @property
    def url(self) -> str:
        """The address for clients."""
        return f"redis://127.0.0.1:{self.port}/0"


class PgBouncer(Process):
    """PgBouncer in transaction mode before a server on ``port``; Debian's package ``pgbouncer``."""

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(folder / "pgbouncer.log")
        program = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")
        if program is None:
            raise RuntimeError("there is no program pgbouncer; Debian: apt-get install pgbouncer")
        self.program = program
        self.port = free_port()
        home = own(folder / "pgbouncer", server_account())
        self.settings = home / "pgbouncer.ini"
        users = home / "users.txt"
        users.write_text('"postgres" ""\n')
        self.settings.write_text(
            f"[databases]\n* = host=127.0.0.1 port={port}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\n"
            f"unix_socket_dir =\nauth_type = trust\nauth_file = {users}\n"
            "pool_mode = transaction\ndefault_pool_size = 20\nserver_login_retry = 1\n"
            "server_connect_timeout = 2\n"
        )

    def command(self) -> list[str]:
        """PgBouncer in the foreground."""
        return [self.program, str(self.settings)]

    def ready(self) -> bool:
        """Whether it lets somebody through to the server."""
        where = {"host": "127.0.0.1", "port": self.port, "user": "postgres", "dbname": "postgres"}
        try:
            with psycopg.connect(**where, connect_timeout=5, autocommit=True) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True


class Gunicorn(Process):
    """The service with an environment of its own."""

    runs_as_server = False

    def __init__(self, folder: Path, **variables: str) -> None:
        super().__init__(folder / "gunicorn.log")
        self.port = free_port()
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PCF_", "PROMETHEUS_"))}
        self.variables = {
            **kept,
            "DJANGO_SETTINGS_MODULE": "settings.development",
            "DEBUG": "0",
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "WORKERS": "2",
            **variables,
        }

    def environment(self) -> Mapping[str, str]:
        """What the service needs to know."""
        return self.variables

    def command(self) -> list[str]:
        """As in production."""
        return [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "pcf.asgi:application"]

    @property
    def url(self) -> str:
        """The service's address."""
        return f"http://127.0.0.1:{self.port}"

    def manage(self, *arguments: str) -> str:
        """What a management command prints. Raises RuntimeError when it fails."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=dict(self.variables),
            capture_output=True,
            text=True,
            timeout=4 * PATIENCE,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"manage.py {arguments[0]}: {done.stderr}")
        return done.stdout

    def ready(self) -> bool:
        """Whether /readyz says so."""
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=10) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def workers(self) -> list[int]:
        """The process ids of the workers."""
        return [] if self.process is None else _descendants(self.process.pid)

    def stop(self) -> int:
        """Ask it to end after what it has begun; its exit status."""
        self.signal(signal.SIGTERM)
        return self.wait_end()
