"""Two servers on one database and one Redis prefix: PCF, and plain gunicorn with Django's view."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.conf import settings

from tests.end_to_end.conftest import IDLE, ROOT, Server, beside, start, stop

# The plain server uses gunicorn's Python parser, PCF the C parser.
PLAIN = [
    *("-k", "gthread", "-w", "1", "--threads", "8", "--keep-alive", "75"),
    *("--http-parser", "python", "--limit-request-line", "8190"),
    *("--backlog", "4096", "--no-control-socket", "pcf.wsgi:application"),
]


@dataclass(frozen=True)
class Pair:
    """Both servers and their ports."""

    pcf: Server
    plain: Server

    @property
    def ports(self) -> tuple[int, int]:
        return int(self.pcf.environment["PORT"]), int(self.plain.environment["PORT"])


@contextmanager
def both(address: str) -> Iterator[Pair]:
    """Start both servers on a database with the demo data."""
    given = {k: v for k, v in os.environ.items() if not k.startswith(("PCF_", "PROMETHEUS_"))}
    environment = {
        **given,
        "DJANGO_SETTINGS_MODULE": "settings.development",
        "DEBUG": "0",
        "ALLOWED_HOSTS": "localhost,127.0.0.1,.example.org",
        "DATABASE_URL": address,
        "PCF_CACHE_PREFIX": f"{settings.PCF.cache.prefix}-differential",
        "HOST": "127.0.0.1",
        "WORKERS": "1",
        "PCF_POOL_MAX_IDLE": IDLE,
        "PCF_SERVER_PROBE": "20",  # a busy machine must not change an answer
    }
    pcf = start(beside(environment))
    try:
        plain = _start_plain(beside(environment))
        try:
            yield Pair(pcf, plain)
        finally:
            stop(plain)
    finally:
        stop(pcf)


def _start_plain(environment: dict[str, str]) -> Server:
    log = tempfile.TemporaryFile()  # noqa: SIM115 - a pipe that nobody reads would stop the server
    url = f"127.0.0.1:{environment['PORT']}"
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "-c", os.devnull, "-b", url, *PLAIN],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=log,
    )
    server = Server(f"http://{url}", environment, process, log)
    for _ in range(300):
        assert process.poll() is None, server.logged()
        try:
            server.get("/graphql?query={__typename}")
        except OSError:
            time.sleep(0.1)
        else:
            return server
    process.kill()
    raise AssertionError("the plain server did not become ready in 30 seconds")
