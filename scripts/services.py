"""PostgreSQL and Redis servers for development and tests.

The servers listen on free ports of 127.0.0.1 and trust every local connection.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

from scripts.programs import Programs
from scripts.supervise import Child, Failure, Supervisor, tail

START_TIMEOUT = 60.0  # seconds; a recovery after a crash takes long
PORT_TRIES = 5  # another program may take a free port before the server binds it
STATUS_LINE = 7  # of postmaster.pid, counted from 0 (miscadmin.h, LOCK_FILE_LINE_PM_STATUS)


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that is free at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def _server_environment() -> dict[str, str]:
    """Return the caller's environment with English messages, which this module reads."""
    return dict(os.environ) | {"LC_ALL": "C"}


def _initdb(supervisor: Supervisor, programs: Programs, data: Path, durable: bool) -> None:
    """Make a new cluster. Raises Failure.

    The cluster gets its name when it is complete, so an interrupted run leaves no broken cluster.
    """
    unfinished = data.with_name(data.name + ".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    if programs.account:
        os.chown(unfinished, programs.account.uid, programs.account.gid)
    argv: list[str | Path] = [
        programs.server.with_name("initdb"),
        "-D",
        unfinished,
        "-U",
        "postgres",
        "--auth=trust",
        "-E",
        "UTF8",
    ]
    if programs.major >= 17:  # noqa: PLR2004 - version 17 brought a built-in UTF-8 locale
        argv += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    else:
        argv += ["--locale=C.UTF-8"]
    if not durable:
        argv += ["--no-sync"]
    log = data.with_name("initdb.log")
    with log.open("wb") as output:
        status = supervisor.call(
            argv, env=_server_environment(), cwd=Path("/"), output=output, account=programs.account
        )
    if status != 0:
        raise Failure(f"initdb failed; the end of {log}:\n{tail(log)}")
    unfinished.rename(data)


def _postgres_options(programs: Programs, port: int, durable: bool, connections: int) -> list[str]:
    """Return the command line options of the server."""
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "max_connections": str(connections),
        "log_min_messages": "warning",
    }
    if not durable:  # the data of a throw-away cluster may be lost
        settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    base = programs.server.parent.parent
    libraries = (
        "lib/pg_stat_statements",
        "lib/postgresql/pg_stat_statements",
        "lib64/pgsql/pg_stat_statements",
    )
    if any(
        (base / f"{library}.{end}").exists() for library in libraries for end in ("so", "dylib")
    ):
        settings["shared_preload_libraries"] = "pg_stat_statements"
    return [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]


def _wait_for_leftover(supervisor: Supervisor, data: Path) -> None:
    """Wait for a server whose supervisor was killed: it still uses the cluster."""
    pidfile = data / "postmaster.pid"

    def gone() -> bool:
        try:
            pid = int(pidfile.read_text().split()[0])
            return "postgres" not in Path(f"/proc/{pid}/comm").read_text()
        except (OSError, ValueError, IndexError):
            return True

    if not gone():
        supervisor.say("waiting for the previous PostgreSQL to finish")
    supervisor.wait_until(
        gone, timeout=START_TIMEOUT, what=f"the previous PostgreSQL of {data} to stop"
    )


def start_postgres(
    supervisor: Supervisor, programs: Programs, folder: Path, *, durable: bool, connections: int
) -> str:
    """Start PostgreSQL with a cluster in ``folder`` and return its URL. Raises Failure.

    A durable cluster survives crashes of the machine. An existing cluster is used again.
    """
    data = folder / f"postgresql-{programs.major}"
    if not data.exists():
        _initdb(supervisor, programs, data, durable)
    _wait_for_leftover(supervisor, data)
    pidfile = data / "postmaster.pid"

    def ready(child: Child) -> bool:
        try:
            lines = pidfile.read_text().splitlines()
        except OSError:
            return False
        # The first line of the file is the process id, line STATUS_LINE the state.
        ours = lines[:1] == [str(child.process.pid)]
        return ours and len(lines) > STATUS_LINE and lines[STATUS_LINE].strip() == "ready"

    def argv(port: int) -> list[str | Path]:
        return [
            programs.server,
            "-D",
            data,
            *_postgres_options(programs, port, durable, connections),
        ]

    log = folder / "postgresql.log"
    # SIGINT is PostgreSQL's fast shutdown, SIGQUIT the immediate one.
    stop = (signal.SIGINT, signal.SIGQUIT)
    port = _start_on_free_port(supervisor, "PostgreSQL", argv, ready, programs, log, stop)
    return f"postgres://postgres@127.0.0.1:{port}/postgres"


def start_redis(supervisor: Supervisor, programs: Programs, folder: Path) -> str:
    """Start a Redis server that stores nothing on disk, and return its URL. Raises Failure."""
    started_on: list[int] = []

    def argv(port: int) -> list[str | Path]:
        started_on[:] = [port]
        options = {
            "port": port,
            "bind": "127.0.0.1",
            "save": "",
            "appendonly": "no",
            "dir": "/",
            "daemonize": "no",
        }
        return [
            programs.server,
            *(str(part) for key, value in options.items() for part in (f"--{key}", value)),
        ]

    def ready(child: Child) -> bool:
        # Another server may have taken the port, so the answer has to name the process.
        return f"process_id:{child.process.pid}\r\n".encode() in _ask_redis(
            started_on[0], b"INFO server\r\n"
        )

    log = folder / "redis.log"
    stop = (signal.SIGTERM, signal.SIGKILL)
    port = _start_on_free_port(supervisor, "Redis", argv, ready, programs, log, stop)
    return f"redis://127.0.0.1:{port}/0"


def _ask_redis(port: int, command: bytes) -> bytes:
    """Send one inline command; return the answer, or nothing after a second of silence."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(command + b"QUIT\r\n")
            return b"".join(iter(lambda: connection.recv(65536), b""))
    except OSError:
        return b""


def _start_on_free_port(
    supervisor: Supervisor,
    name: str,
    argv: Callable[[int], list[str | Path]],
    ready: Callable[[Child], bool],
    programs: Programs,
    log: Path,
    stop: tuple[signal.Signals, signal.Signals],
) -> int:
    """Start a server and wait until it is ready; return its port. Raises Failure.

    The function tries another port if another program has taken the first one.
    """
    for _ in range(PORT_TRIES):
        port = free_port()
        log.unlink(missing_ok=True)
        child = supervisor.start(
            name,
            argv(port),
            env=_server_environment(),
            cwd=Path("/"),
            log=log,
            account=programs.account,
            stop_signal=stop[0],
            hurry_signal=stop[1],
            grace=60,
        )
        deadline = time.monotonic() + START_TIMEOUT
        while child.process.poll() is None and time.monotonic() < deadline:
            if ready(child):
                return port
            supervisor.raise_for_signals()
            time.sleep(0.02)
        if child.process.poll() is None or "in use" not in tail(log):
            break
        supervisor.forget(child)
    supervisor.check()
    raise Failure(f"{name} did not start; the end of {log}:\n{tail(log)}")
