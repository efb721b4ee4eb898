"""Servers that can be stopped, killed, frozen or promoted: PostgreSQL, Redis, PgBouncer, gunicorn.

Each server is a process on a free port of 127.0.0.1. Its data is in a folder that the caller
removes. A PostgreSQL without its folder ends by itself.
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

PATIENCE = 60.0  # seconds that a start or stop may take on a busy machine
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
    # written data survives the death of a process, but not a crash of the machine
    "fsync": "off",
}


def wait_for(what: str, ready: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Wait until ``ready`` returns a true value and return it. Raises TimeoutError."""
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
    """A server process that can be broken."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command line."""

    @abstractmethod
    def ready(self) -> bool:
        """Return whether the server answers."""

    def environment(self) -> Mapping[str, str]:
        """Return the environment of the process."""
        return dict(os.environ) | {"LC_ALL": "C"}

    def launch(self) -> None:
        """Start the process."""
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
        """Start the process and wait until the server answers."""
        self.launch()
        self.wait_ready()
        return self

    def wait_ready(self) -> None:
        """Wait until the server answers. Raises RuntimeError when the process ends instead."""

        def check() -> bool:
            if self.process is None or self.process.poll() is not None:
                raise RuntimeError(f"{type(self).__name__} ended:\n{tail(self.log)}")
            return self.ready()

        wait_for(f"{type(self).__name__} ready", check)

    def signal(self, signum: signal.Signals) -> None:
        """Send a signal to the process, not to its children."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signum)

    def wait_end(self) -> int:
        """Wait until the process has ended; return its exit status."""
        assert self.process is not None
        return self.process.wait(PATIENCE)

    def signal_all(self, signum: signal.Signals) -> None:
        """Send a signal to the process and all its descendants, whatever their sessions."""
        if self.process is None:
            return
        for pid in (self.process.pid, *_descendants(self.process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signum)

    def freeze(self) -> None:
        """Stop the process without closing its connections (SIGSTOP)."""
        self.signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue a frozen process (SIGCONT)."""
        self.signal_all(signal.SIGCONT)

    def kill(self) -> None:
        """Kill the process and its descendants, as the kernel does without memory."""
        if self.process is not None and self.process.poll() is None:
            self.signal_all(signal.SIGKILL)
            self.wait_end()

    def close(self) -> None:
        """End the process in any state."""
        self.kill()


def _descendants(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    found = [int(child) for child in children]
    return found + [deeper for child in found for deeper in _descendants(child)]


class Postgres(Process):
    """PostgreSQL with a cluster called ``name`` inside ``folder``."""

    def __init__(self, folder: Path, name: str, **settings: str) -> None:
        super().__init__(folder / f"{name}.log")
        self.programs: Programs = find_postgres(_search(), server_account())
        self.home = own(folder / "postgresql", server_account())
        self.data = self.home / name
        self.port = free_port()
        self.settings = SETTINGS | settings | {"port": str(self.port)}

    def command(self) -> list[str]:
        """Return the command line of a server in the foreground."""
        options = [
            part for key, value in self.settings.items() for part in ("-c", f"{key}={value}")
        ]
        return [str(self.programs.server), "-D", str(self.data), *options]

    def ready(self) -> bool:
        """Return whether the server accepts a connection; a standby may."""
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def url(self, database: str = "postgres") -> str:
        """The URL for clients."""
        return f"postgres://postgres@127.0.0.1:{self.port}/{database}"

    def create(self) -> Self:
        """Create the cluster."""
        self._run(
            "initdb", "-D", str(self.data), "-U", "postgres", "--auth=trust", "-E", "UTF8",
            "--locale=C", "--no-sync",
        )  # fmt: skip
        return self

    def replicate(self, primary: Postgres) -> Self:
        """Create the cluster as a streaming replica of a running ``primary``."""
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
        """Execute a statement on a new connection and return its rows."""
        where = {"host": "127.0.0.1", "port": self.port, "user": "postgres", "dbname": database}
        with psycopg.connect(**where, autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(sql, parameters)
            return cursor.fetchall() if cursor.description else []

    def stop(self) -> None:
        """Shut down fast: PostgreSQL closes connections and writes all data."""
        self.signal(signal.SIGINT)
        self.wait_end()

    def promote(self) -> None:
        """Promote a replica to a primary."""
        self.execute("SELECT pg_promote(wait => true)")

    def position(self) -> int:
        """Return the WAL position in bytes: written by a primary, replayed by a replica."""
        sql = """
            SELECT ((CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                     ELSE pg_current_wal_insert_lsn() END) - '0/0')::bigint"""
        return int(self.execute(sql)[0][0])

    def close(self) -> None:
        """Kill the server and remove its data."""
        super().close()
        shutil.rmtree(self.data, ignore_errors=True)


class Redis(Process):
    """A Redis or Valkey server that stores nothing on disk."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "redis.log")
        self.programs = find_redis(_search(), server_account())
        self.port = free_port()

    def command(self) -> list[str]:
        """Return the command line of a server in the foreground."""
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
        """Return whether the server answers PING."""
        import redis

        try:
            with redis.Redis(port=self.port, socket_timeout=1) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    @property
    def url(self) -> str:
        """The URL for clients."""
        return f"redis://127.0.0.1:{self.port}/0"


class PgBouncer(Process):
    """PgBouncer in transaction mode before a PostgreSQL on ``port`` (Debian: pgbouncer)."""

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(folder / "pgbouncer.log")
        program = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")
        if program is None:
            raise RuntimeError("pgbouncer is missing. Debian: apt-get install pgbouncer")
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
        """Return the command line of PgBouncer in the foreground."""
        return [self.program, str(self.settings)]

    def ready(self) -> bool:
        """Return whether PgBouncer forwards a statement to the server."""
        where = {"host": "127.0.0.1", "port": self.port, "user": "postgres", "dbname": "postgres"}
        try:
            with psycopg.connect(**where, connect_timeout=5, autocommit=True) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True


class Gunicorn(Process):
    """The service, with variables of its own."""

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
        """Return the environment of the service."""
        return self.variables

    def command(self) -> list[str]:
        """Return the command line that production uses."""
        return [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "pcf.asgi:application"]

    @property
    def url(self) -> str:
        """The service's URL."""
        return f"http://127.0.0.1:{self.port}"

    def manage(self, *arguments: str) -> str:
        """Run a management command and return its output. Raises RuntimeError."""
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
        """Return whether /readyz answers 200."""
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=10) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def workers(self) -> list[int]:
        """Return the process ids of the workers."""
        return [] if self.process is None else _descendants(self.process.pid)

    def stop(self) -> int:
        """Stop the service gracefully; return its exit status."""
        self.signal(signal.SIGTERM)
        return self.wait_end()
