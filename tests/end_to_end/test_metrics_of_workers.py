"""/metrics of a real server: bounded under hostile requests, correct over restarts."""

import http.client
import random
import re
import signal
import socket
import string
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from os import kill
from time import monotonic

import pytest

from tests.end_to_end.conftest import start, stop

MAX_SERIES = 1_000
NOTICED_WITHIN = 20.0  # seconds in which the master notices the end of a worker
SAMPLE = re.compile(r"^(\w+?)(?:_bucket|_sum|_count)?(\{.*\})? (\S+)$", re.MULTILINE)


def scrape(server):
    status, _, body = server.get("/metrics")
    assert status == 200
    return body.decode()


def word(chance):
    return "".join(chance.choices(string.ascii_letters + "_", k=12))


def hostile_request(chance):
    """Return a method, path, headers and body with random words for no label to show."""
    name = word(chance)
    method = chance.choice(["POST", "GET", "PUT", "DELETE", "OPTIONS", word(chance).upper()])
    path = chance.choice(["/graphql", f"/{name}", f"/admin/{name}/", f"/graphql?{name}={name}"])
    kind = chance.choice(["application/json", f"application/{name}", f"{name}/{name}", ""])
    query = chance.choice(
        [
            f"query {name} {{ {name}: me {{ id }} }}",
            f"mutation {name} {{ {name} }}",
            f'{{ user(id: "{chance.random()}") {{ {name}: name }} }}',
            name,
        ]
    )
    body = f'{{"query": "{query}", "operationName": "{name}", "{name}": 1}}'.replace(
        'id: "', "id: "
    )
    headers = {
        "Content-Type": kind,
        "Accept": chance.choice(["*/*", f"{name}/*", "text/html"]),
        "Authorization": chance.choice([f"Bearer {name}", f"{name} {name}", ""]),
        "X-Request-ID": name,
        "X-Request-Timeout": str(chance.random()),
        f"X-{name.replace('_', '-')}": name,
        "Host": f"{name.replace('_', 'a')}.example.org",
        "traceparent": name,
    }
    return method, path, headers, body


@pytest.fixture
def hostile(server):
    """Send hostile requests from many threads; return the words in them."""

    def send(seed):
        chance = random.Random(seed)
        host, port = server.url.removeprefix("http://").split(":")
        for _ in range(25):
            method, path, headers, body = hostile_request(chance)
            connection = http.client.HTTPConnection(host, int(port), timeout=30)
            with suppress(http.client.HTTPException, OSError):
                connection.request(method, path, body, headers)
                connection.getresponse().read()
            connection.close()
        return seed

    def run():
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(send, range(8)))

    return run


def test_hostile_requests_make_no_series(server, hostile):
    hostile()
    first = scrape(server)
    series = Counter(name for name, _, _ in SAMPLE.findall(first))
    assert series["graphql_request_duration_seconds"] > 100
    assert {name: count for name, count in series.items() if count >= MAX_SERIES} == {}
    hostile()
    known = {line.rpartition(" ")[0] for line in first.splitlines()}
    later = {line.rpartition(" ")[0] for line in scrape(server).splitlines()}
    assert later - known == set()


def owners(folder):
    """Return the owners of worker numbers. A lock file is empty while it is written."""
    texts = [path.read_text() for path in folder.glob("worker*.lock")]
    return {int(text) for text in texts if text}


def totals(text):
    """Return the values that must never fall, by series."""
    counted = {}
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        if re.match(r"\w+_(total|bucket|sum|count)\b", name) and not name.startswith("process_"):
            counted[name] = float(value)
    return counted


@pytest.fixture
def own_server(environment, server, tmp_path):
    """``own_server(...)`` starts a server with other settings and metrics in ``tmp_path``."""
    running = []

    def begin(**changes):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        own = {"PORT": str(port), "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
        running.append(start({**environment, **own, **changes}))
        return running[0]

    yield begin
    for each in running:
        stop(each)


def test_counters_survive_their_workers(own_server, tmp_path):
    short_lived = own_server(MAX_REQUESTS="8")
    seen = set()
    before = {}
    asked = 0
    while asked < 40 or len(seen) < 4:  # at least four workers have answered
        for _ in range(5):
            patiently(lambda: short_lived.post("{ tags { id } }"))
        asked += 5
        seen |= owners(tmp_path)
        now = totals(patiently(lambda: scrape(short_lived)))
        assert {name for name, value in before.items() if now.get(name, 0) < value} == set()
        before = now
    requests = sum(v for n, v in before.items() if n.startswith("graphql_http_responses_total"))
    assert requests == asked
    assert len(list(tmp_path.glob("*.db"))) <= 9  # three kinds: two workers and their master


def test_killed_workers_leave_counts_but_no_connections(own_server, tmp_path):
    limits = {"HTTP": "30", "GRAPHQL": "25", "DATABASE": "20"}
    running = own_server(**{f"PCF_TIMEOUTS_{name}": value for name, value in limits.items()})
    in_use = re.compile(
        r'^db_pool_connections{database="default",state="in_use"} (\S+)', re.MULTILINE
    )

    def busy():
        found = in_use.search(patiently(lambda: scrape(running)))
        return float(found[1]) if found else 0.0

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(lambda: unless_lost(lambda: running.post("{ slowQuery(delay: 15) }")))
        while busy() < 1:
            assert not slow.done()
        before = totals(patiently(lambda: scrape(running)))
        for pid in owners(tmp_path):
            kill(pid, signal.SIGKILL)
        assert slow.result() is None  # its worker was killed
    now = totals(patiently(lambda: scrape(running)))
    assert {name for name, value in before.items() if now.get(name, 0) < value} == set()
    # A new worker may answer before the master has noticed the end of the other one.
    deadline = monotonic() + NOTICED_WITHIN
    while busy() > 0:
        assert monotonic() < deadline


def unless_lost(call):
    with suppress(OSError, http.client.HTTPException):
        return call()
    return None


def patiently(call):
    """Ask again if a worker closes the connection because gunicorn replaces it."""
    answer = None
    while answer is None:
        answer = unless_lost(call)
    return answer
