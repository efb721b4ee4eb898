"""Measure cache hits over HTTP beside applications that do almost nothing.

    make bench-hits

Every application runs under gunicorn with the same number of workers:

    bare      a WSGI application that returns constant bytes, on gthread
    asgi      an ASGI application that returns constant bytes, on gunicorn's asgi worker and uvloop
    django    a Django view without middleware: one get from django-redis, constant bytes
    pcf       the service: the same request with a token, always a hit
    worker    the bare ASGI application on PCF's worker, with its limits for connections

The benchmark loads them in turns, round after round, so that other work of the machine affects all
of them. Compare the ratios within one run. The load comes from wrk if it is installed. Otherwise it
comes from a simple client, which takes more processor time and so hides differences. The last
figures are durations of hits inside the process.
"""

import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.development")

import django

django.setup()

from django.core.management import call_command

from benchmarks.hits_inside import durations
from notes.management.commands.seed_demo import TOKEN

ROUNDS = int(os.environ.get("ROUNDS") or 5)
SECONDS = int(os.environ.get("SECONDS") or 4)  # of load in each round
CONNECTIONS = 16
QUERY = '{ note(id: "3") { id title author { id name } tags { id name } } }'
APPLICATIONS = {
    "bare": "benchmarks.hits_applications:bare",
    "asgi": "benchmarks.hits_applications:bare_asgi",
    "django": "benchmarks.hits_applications:django_view()",
    "pcf": "pcf.asgi:application",
    "worker": "benchmarks.hits_applications:bare_asgi",
}
OWN = ("pcf", "worker")  # run with PCF's gunicorn.conf.py; the others with plain settings


@contextmanager
def serving(name: str) -> Iterator[int]:
    """Yield the port of a gunicorn that serves one of ``APPLICATIONS``."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = "gunicorn.conf.py" if name in OWN else "benchmarks/peers/python/gunicorn_settings.py"
    kind = ["-k", "asgi", "--threads", "1"] if name == "asgi" else []
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "-c", settings, *kind, APPLICATIONS[name]],
        cwd=ROOT,
        env={
            "WORKERS": "2",
            **os.environ,
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "LOG_LEVEL": "warning",
        },
    )
    try:
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(60)


def wrk(port: int, folder: str) -> float:
    """Return the requests a second that wrk reached. Exits if an answer is not a 200."""
    script = Path(folder) / "post.lua"
    script.write_text(
        'wrk.method = "POST"\n'
        f"wrk.body = {json.dumps(json.dumps({'query': QUERY}))}\n"
        'wrk.headers["Content-Type"] = "application/json"\n'
        f'wrk.headers["Authorization"] = "Bearer {TOKEN}"\n'
    )
    output = subprocess.run(
        ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-s", script,
         f"http://127.0.0.1:{port}/graphql"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    if "Non-2xx" in output:
        raise SystemExit(output)
    found = re.search(r"Requests/sec:\s+([0-9.]+)", output)
    assert found, output  # noqa: S101
    return float(found[1])


def own_client(port: int, _folder: str) -> float:
    """Return the requests a second that ``hits_client`` reached over as many connections."""
    body = json.dumps({"query": QUERY})
    output = subprocess.run(
        [sys.executable, "-m", "benchmarks.hits_client", str(port), str(CONNECTIONS), str(SECONDS),
         TOKEN, body],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return float(output)


def main() -> None:
    call_command("migrate", verbosity=0)
    call_command("seed_demo", verbosity=0)
    load = wrk if shutil.which("wrk") else own_client
    print(f"load: {load.__name__}, {CONNECTIONS} connections, {ROUNDS} rounds of {SECONDS} s each")
    found: dict[str, list[float]] = {name: [] for name in APPLICATIONS}
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        ports = {name: stack.enter_context(serving(name)) for name in APPLICATIONS}
        for number in range(ROUNDS + 1):
            for name, port in ports.items():
                rate = load(port, folder)
                if number:  # the first round warms up
                    found[name].append(rate)
    rates = {name: statistics.median(values) for name, values in found.items()}
    for name, rate in rates.items():
        share = statistics.median(
            one / bare for one, bare in zip(found[name], found["bare"], strict=True)
        )
        print(f"{name:8}{rate:8.0f} requests/s   {share:5.2f} of bare")
    for name, values in durations(QUERY, TOKEN).items():
        print(f"{name:40} p50 {values[0]:6.3f} ms   p95 {values[1]:6.3f} ms")


if __name__ == "__main__":
    main()
