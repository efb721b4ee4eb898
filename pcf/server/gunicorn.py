"""gunicorn's settings and server hooks; a project's ``gunicorn.conf.py`` imports all of them.

https://gunicorn.org/reference/settings/

HOST, PORT, WORKERS and some rarer environment variables set the values. gunicorn reads this module
before it loads the application. So the module imports neither Django nor prometheus_client at its
top: the hooks import what they need.
"""

import atexit
import contextlib
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from gunicorn.glogging import Logger


def _number(name: str, default: int, least: int, most: int) -> int:
    """Return a whole number from the environment. End gunicorn with a message for another value."""
    text = os.environ.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        sys.exit(f"{name} must be a whole number from {least} to {most}, got {text!r}")
    return int(text)


def _seconds(name: str, default: float) -> float:
    """Return a number of seconds from the environment. End gunicorn for another value."""
    text = os.environ.get(name) or str(default)
    try:
        return float(text)
    except ValueError:
        sys.exit(f"{name} must be a number of seconds, got {text!r}")


# --- address and processes
_host = os.environ.get("HOST") or "127.0.0.1"
_port = _number("PORT", 8080, 1, 65_535)
bind = f"[{_host}]:{_port}" if ":" in _host else f"{_host}:{_port}"
workers = _number("WORKERS", 2, 1, 256)
_number("THREADS", 8, 1, 256)  # threads of each worker; the application starts them
worker_class = "pcf.server.worker.Worker"  # gunicorn's ASGI worker with limits for connections
preload_app = True  # workers share the memory of the schema
asgi_lifespan = "on"  # the application starts its threads at lifespan.startup

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

# --- times, in seconds
# The master kills a worker whose event loop does not respond for ``timeout``. Requests have their
# own deadlines. A stop waits longer than a request may take, so that it cuts off no answer.
timeout = 60
graceful_timeout = int(_seconds("PCF_TIMEOUTS_HTTP", 30.0) + 5)
keepalive = 75  # proxies keep connections for 60 s by default, so the proxy closes first

# --- limits
backlog = 4096  # connections that wait to be accepted; the system's somaxconn may be lower
limit_request_line = 8190  # bytes; the most that gunicorn can check
limit_request_fields = 100
limit_request_field_size = 8190  # bytes
# gunicorn replaces a worker after this number of requests; 0 never does. No leak is known.
max_requests = _number("MAX_REQUESTS", 0, 0, 1_000_000_000)
max_requests_jitter = max_requests // 10

# --- files, logs
if Path("/dev/shm").is_dir():  # noqa: S108 - gunicorn makes a private, unlinked file there
    worker_tmp_dir = "/dev/shm"  # noqa: S108 - so a heartbeat never waits for a disk
accesslog = os.environ.get("ACCESS_LOG") or None  # "-" is standard output
# The format leaves out the query string and the Referer, which may hold personal data.
access_log_format = '%(h)s %(t)s "%(m)s %(U)s %(H)s" %(s)s %(b)s bytes %(M)s ms'
errorlog = "-"
_production = os.environ.get("DJANGO_SETTINGS_MODULE", "").endswith("production")
_json = os.environ.get("LOG_FORMAT", "json" if _production else "plain") == "json"


class SafeLogger(Logger):
    """A logger whose lines hold nothing that a client wrote, and are JSON where the engine's are.

    The access log has the endpoint in the place of the path, and neither query string nor Referer.
    """

    def setup(self, cfg: Any) -> None:
        """Set up gunicorn's logs with the engine's formatters."""
        from pcf.observability import logs  # noqa: PLC0415 - gunicorn has set the import path by now

        super().setup(cfg)
        plain = logs.PlainFormatter(self.error_fmt, self.datefmt)
        for handler in self.error_log.handlers:
            handler.setFormatter(logs.JsonFormatter() if _json else plain)
        for handler in self.access_log.handlers:
            handler.setFormatter(logs.PlainFormatter(self.access_fmt))

    def atoms(self, resp: Any, req: Any, environ: Any, request_time: Any) -> dict[str, Any]:
        """Return the values for the format of a line in the access log."""
        from pcf.observability.logs import safe_method, safe_path  # noqa: PLC0415 - as above

        found: dict[str, Any] = super().atoms(resp, req, environ, request_time)
        found["m"], found["U"] = safe_method(str(found["m"])), safe_path(str(found["U"]))
        found["r"] = f"{found['m']} {found['U']} {found['H']}"
        return found | {"q": "", "f": "-", "u": "-"}


logger_class = SafeLogger
loglevel = (os.environ.get("LOG_LEVEL") or "info").lower()
# gunicorn's default control socket has one path for each user, so two services would share it.
control_socket_disable = True
# forwarded_allow_ips keeps gunicorn's default: FORWARDED_ALLOW_IPS, or this machine alone.


# --- the metrics of several processes
# The value is the master's process id, and "own" or "given". It survives a reload of this module.
_FOLDER_OWNER = "PCF_METRICS_FOLDER_OF"


def _prepare_metrics_folder() -> None:
    """Give this start of the service a metrics folder without the values of an earlier start.

    prometheus_client reads the environment when it is imported, so this runs before. gunicorn reads
    this module first.
    """
    owner, _, origin = os.environ.get(_FOLDER_OWNER, "").partition(" ")
    if owner == str(os.getpid()):
        return  # SIGHUP reloads this module while the folder is in use
    atexit.register(_remove_metrics_folder)
    given = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if not given or origin == "own":  # none, or inherited from another start, which will remove it
        given = None
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="pcf-metrics-")
    elif "GUNICORN_PID" not in os.environ:  # set where SIGUSR2 started this master beside another
        folder = Path(given)
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob("*.db"):
            left.unlink(missing_ok=True)
    os.environ[_FOLDER_OWNER] = f"{os.getpid()} {'given' if given else 'own'}"


def _close_connections() -> None:
    """Close the database connections that loading the application opened.

    Two processes must not use one connection: each would read the other's results. psycopg's pool
    also has threads, which do not survive a fork. The process that owns the connections closes them
    before the fork, because closing them in the worker would end the sessions of the other process.
    redis-py needs no such step: its pools compare process ids.
    """
    from django.db import connections  # noqa: PLC0415 - Django is set up by now

    for connection in connections.all(initialized_only=True):
        connection.close()
        if hasattr(connection, "close_pool"):
            connection.close_pool()


def on_starting(server: Any) -> None:
    """Wait for PostgreSQL for ``database.startup_wait`` seconds, and start in any case.

    Without PostgreSQL the service answers what it can, /readyz returns 503, and the pools keep
    connecting. A master that ended here would only be started again.
    """
    from django.conf import settings  # noqa: PLC0415 - Django is set up by now

    from pcf.conf import thread_count  # noqa: PLC0415
    from pcf.database.pool import wait_for_database  # noqa: PLC0415
    from pcf.server.process import block_signals_over_forks  # noqa: PLC0415

    # Until gunicorn has its handlers, SIGTERM would end the process without its exit handlers.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    block_signals_over_forks()
    size = settings.PCF.pool.sized(thread_count(), settings.PCF.server.greenlets).max_size
    wait_for_database(settings.PCF.database.startup_wait, wanted=server.cfg.workers * size)


def pre_fork(server: Any, worker: Any) -> None:  # noqa: ARG001 - gunicorn's signature
    """Prepare the master for the fork of a worker, new or replaced."""
    from pcf.cache.outbox_relay import declaration_problem  # noqa: PLC0415 - after the folder
    from pcf.server.process import freeze_memory  # noqa: PLC0415 - after the metrics folder is set

    declaration_problem()  # the workers inherit what takes a second to find
    _close_connections()
    freeze_memory()


def post_fork(server: Any, worker: Any) -> None:  # noqa: ARG001 - gunicorn's signature
    """Prepare a new worker: its metrics files, its interpreter and its tracer."""
    from pcf.conf import config  # noqa: PLC0415 - Django is set up by now
    from pcf.observability.multiprocess import take_worker_number  # noqa: PLC0415
    from pcf.observability.tracing import start_tracing  # noqa: PLC0415
    from pcf.server.process import limit_arenas, share_interpreter  # noqa: PLC0415

    take_worker_number()
    share_interpreter()
    limit_arenas()
    if config().traces.enabled:
        start_tracing(config().traces)  # the exporter's thread does not survive a fork


def post_worker_init(worker: Any) -> None:
    """Unblock the signals in a worker of another class, which has its handlers by now."""
    from pcf.server.process import unblock_signals  # noqa: PLC0415 - after the folder is set
    from pcf.server.worker import Worker  # noqa: PLC0415

    if not isinstance(worker, Worker):
        unblock_signals()


def child_exit(server: Any, worker: Any) -> None:  # noqa: ARG001 - gunicorn's signature
    """Remove the gauges of a worker that has ended. Its counters stay: they must never fall."""
    from pcf.observability.multiprocess import forget_process  # noqa: PLC0415 - as above

    # A missing folder must not end the service.
    with contextlib.suppress(OSError):
        forget_process(worker.pid)


def _remove_metrics_folder() -> None:
    """Remove the metrics folder if this process made it. Workers inherit this exit handler."""
    if os.environ.get(_FOLDER_OWNER) == f"{os.getpid()} own":
        shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)


_prepare_metrics_folder()
