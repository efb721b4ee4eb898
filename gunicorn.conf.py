"""gunicorn's settings. From the environment: HOST, PORT, WORKERS, and rarer ones."""

import contextlib
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from gunicorn.glogging import Logger


def _number(name: str, default: int, least: int, most: int) -> int:
    """A whole number from the environment; ends gunicorn with a sentence where it is none."""
    text = os.environ.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        sys.exit(f"{name} must be a whole number from {least} to {most}, got {text!r}")
    return int(text)


def _seconds(name: str, default: float) -> float:
    """A number of seconds from the environment; ends gunicorn with a sentence where it is none."""
    text = os.environ.get(name) or str(default)
    try:
        return float(text)
    except ValueError:
        sys.exit(f"{name} must be a number of seconds, got {text!r}")


# --- where and how many
_host = os.environ.get("HOST") or "127.0.0.1"
_port = _number("PORT", 8080, 1, 65_535)
bind = f"[{_host}]:{_port}" if ":" in _host else f"{_host}:{_port}"
workers = _number("WORKERS", 2, 1, 256)
_number("THREADS", 8, 1, 256)  # of each worker; the application starts them
worker_class = "pcf.server.worker.Worker"  # gunicorn's asgi with limits for connections
preload_app = True  # the schema is built once and its memory shared
asgi_lifespan = "on"  # the application starts its threads with it

# --- TLS and HTTP/2
certfile = os.environ.get("TLS_CERTFILE") or None
keyfile = os.environ.get("TLS_KEYFILE") or None
_http2 = os.environ.get("HTTP2") or "0"
if _http2 not in ("0", "1"):
    sys.exit(f"HTTP2 must be 0 or 1, got {_http2!r}")
if _http2 == "1":
    if certfile is None:
        sys.exit("HTTP2=1 needs TLS_CERTFILE and TLS_KEYFILE: clients choose HTTP/2 within TLS")
    http_protocols = "h2,h1"

# --- how long (seconds)
# This bounds only a worker's event loop, which runs while requests do. Requests have their own
# deadline (the timeout hierarchy); a stop waits longer than that, so that none is cut off.
timeout = 60
graceful_timeout = int(_seconds("PCF_TIMEOUTS_HTTP", 30.0) + 5)
keepalive = 75  # longer than the 60 s of common proxies, so that the proxy closes first

# --- limits
backlog = 4096  # connections that wait to be accepted; the system's somaxconn may be less
limit_request_line = 8190  # bytes; the most gunicorn can check
limit_request_fields = 100
limit_request_field_size = 8190  # bytes
# A worker can be replaced after so many requests; off, since nothing is known to leak.
max_requests = _number("MAX_REQUESTS", 0, 0, 1_000_000_000)
max_requests_jitter = max_requests // 10

# --- files, logs
if Path("/dev/shm").is_dir():  # noqa: S108 - gunicorn makes a private, unlinked file there
    worker_tmp_dir = "/dev/shm"  # noqa: S108 - heartbeats never wait for a disk
accesslog = os.environ.get("ACCESS_LOG") or None  # "-" is standard output
# without the query string and the Referer: what stands there is not for a log
access_log_format = '%(h)s %(t)s "%(m)s %(U)s %(H)s" %(s)s %(b)s bytes %(M)s ms'
errorlog = "-"
_production = os.environ.get("DJANGO_SETTINGS_MODULE", "").endswith("production")
_json = os.environ.get("LOG_FORMAT", "json" if _production else "plain") == "json"


class JsonLogger(Logger):
    """gunicorn's own lines in the format of all others."""

    def setup(self, cfg: Any) -> None:
        """As gunicorn's, with another formatter."""
        from pcf.http.logs import JsonFormatter  # noqa: PLC0415 - the path is known by now

        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(JsonFormatter())


if _json:
    logger_class = JsonLogger
loglevel = (os.environ.get("LOG_LEVEL") or "info").lower()
# The default socket is one per user, so that two services of one user would take it from each
# other.
control_socket_disable = True
# forwarded_allow_ips stays at gunicorn's default: FORWARDED_ALLOW_IPS, or this machine alone.


# --- metrics of several processes
_MARK = "PCF_METRICS_FOLDER_OF"  # process id and "own" or "given"; survives a reload of this file


def _prepare_metrics_folder() -> None:
    """Give this start a metrics folder without the values of an earlier one.

    Has to happen before prometheus_client is imported, which the application does; gunicorn reads
    this file first.
    """
    owner, _, whose = os.environ.get(_MARK, "").partition(" ")
    if owner == str(os.getpid()):
        return  # reloaded by SIGHUP: the folder is in use
    given = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if not given or whose == "own":  # or inherited from another start, which will remove it
        given = None
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="pcf-metrics-")
    elif "GUNICORN_PID" not in os.environ:  # else started by SIGUSR2 and shares it with the old one
        folder = Path(given)
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob("*.db"):
            left.unlink(missing_ok=True)
    os.environ[_MARK] = f"{os.getpid()} {'given' if given else 'own'}"


def _close_connections() -> None:
    """Close what loading the application opened.

    A connection must not have two owners: two workers would read each other's answers. psycopg's
    pool has threads besides, which a fork leaves behind. So both are closed before a fork, in the
    process that owns them; closing them in the worker would say good-bye to the server in the
    name of the other processes. redis-py needs nothing: its pools notice a fork by the process
    id.
    """
    from django.db import connections  # noqa: PLC0415 - configured once the application is loaded

    for connection in connections.all(initialized_only=True):
        connection.close()
        if hasattr(connection, "close_pool"):
            connection.close_pool()


def on_starting(server: Any) -> None:
    """Wait for PostgreSQL, a bounded time; without it, start all the same.

    The service then answers what it can, /readyz says that it is not ready, and the pools keep
    trying: to stop here would only have it started again.
    """
    from django.conf import settings  # noqa: PLC0415 - configured once the application is loaded

    from pcf.apps import thread_count  # noqa: PLC0415
    from pcf.database.startup import wait_for_database  # noqa: PLC0415
    from pcf.processes import hold_signals_over_forks  # noqa: PLC0415

    hold_signals_over_forks()
    size = settings.PCF.pool.sized(thread_count()).max_size
    wait_for_database(settings.PCF.database.startup_wait, wanted=server.cfg.workers * size)


def pre_fork(server: Any, worker: Any) -> None:  # noqa: ARG001 - gunicorn's signature
    """Before every worker, also one that replaces another."""
    from pcf.processes import settle_memory  # noqa: PLC0415 - not before the folder is known

    _close_connections()
    settle_memory()


def post_fork(server: Any, worker: Any) -> None:  # noqa: ARG001 - gunicorn's signature
    """In a new worker: take the files of metrics that the worker before it has left."""
    from pcf.processes import (  # noqa: PLC0415 - not before the folder is known
        limit_arenas,
        share_interpreter,
        take_slot,
    )

    take_slot()
    share_interpreter()
    limit_arenas()
    from pcf.apps import config  # noqa: PLC0415 - configured once the application is loaded
    from pcf.http.traced import start_tracing  # noqa: PLC0415

    if config().traces.enabled:
        start_tracing(config().traces)  # its thread does not survive a fork


def post_worker_init(worker: Any) -> None:
    """In every worker, before it serves: one of another class listens to signals by now."""
    from pcf.processes import take_signals  # noqa: PLC0415 - not before the folder is known
    from pcf.server.worker import Worker  # noqa: PLC0415

    if not isinstance(worker, Worker):
        take_signals()


def child_exit(server: Any, worker: Any) -> None:  # noqa: ARG001 - gunicorn's signature
    """Forget a worker that is gone, and its gauges; its counters stay, they only ever grow."""
    from pcf.processes import bury  # noqa: PLC0415 - not before the folder is known

    # The folder may be gone already; that must not take the service down.
    with contextlib.suppress(OSError):
        bury(worker.pid)


def on_exit(server: Any) -> None:  # noqa: ARG001 - gunicorn's signature
    """Remove the metrics folder if this process made it."""
    if os.environ.get(_MARK) == f"{os.getpid()} own":
        shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)


_prepare_metrics_folder()
