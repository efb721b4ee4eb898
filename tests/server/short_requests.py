"""What the tests of short requests share: requests that miss, locks, and the loop's clock."""

import asyncio
import json
from contextlib import contextmanager
from time import monotonic

import psycopg
import pytest
from django.db import connections

from pcf import greenlets
from pcf.greenlets import in_greenlet
from pcf.server.threads import RequestThreads

FRESH = "Cache-Control: no-store"  # neither a hit nor a store
NOTES = "query ($n: Int!) { notes(first: $n) { id title content author { id name } } }"
TAGS = "query ($n: Int!) { tags(first: $n) { id name } }"
USERS = "query ($n: Int!) { users(first: $n) { id name notes { title } } }"
PAGES = "query ($n: Int!) { notesConnection(first: $n) { nodes { id title } } }"
QUERIES = [NOTES, TAGS, USERS, PAGES]
GREENLET, THREAD = "greenlet", "thread"


def post(query, *lines, n=20, **parameters):
    """Return a POST in its usual form; the variable ``n`` makes responses that differ."""
    body = json.dumps({"query": query, "variables": {"n": n}, **parameters})
    head = ["POST /graphql HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    return "\r\n".join([*head, f"Content-Length: {len(body)}", *lines, "", body]).encode()


def data_of(answer):
    """Return the data of an answer without errors."""
    content = json.loads(answer.body)
    assert "errors" not in content, content
    return content["data"]


def codes_of(answer):
    """Return the codes of the errors of an answer."""
    return [each["extensions"]["code"] for each in json.loads(answer.body)["errors"]]


class Places:
    """Where the short requests ran, in the order of their begins."""

    def __init__(self, monkeypatch):
        self._found = []
        start = RequestThreads.start_short

        def noting(threads, work, *given):
            def run():
                self._found.append(GREENLET if in_greenlet() else THREAD)
                return work()

            return start(threads, run, *given)

        monkeypatch.setattr(RequestThreads, "start_short", noting)

    def take(self):
        """Return and forget the places."""
        found, self._found = self._found, []
        return found


@pytest.fixture
def places(monkeypatch):
    """Where short requests run."""
    return Places(monkeypatch)


@pytest.fixture
def short(wired, places):
    """The whole service, whose greenlets answer QUERIES."""
    know(wired, places)
    return wired


def know(wired, places, *requests):
    """Ask until greenlets answer QUERIES, and ``requests``."""
    for request in requests or [post(query, FRESH) for query in QUERIES]:
        for _ in range(3):
            assert wired.ask(request).status == 200
        assert places.take()[-1] == GREENLET


@pytest.fixture
def keeps(monkeypatch):
    """Greenlets keep their connections while a test lasts."""
    monkeypatch.setattr(greenlets, "IDLE_AFTER", 60.0)


class Other:
    """A session of the test: it locks tables, and looks at the other sessions."""

    def __init__(self):
        params = connections["default"].get_connection_params()
        names = ("dbname", "user", "password", "host", "port")
        self._params = {name: params[name] for name in names if name in params}
        self._session = psycopg.connect(**self._params, autocommit=True)

    @contextmanager
    def lock(self, table="notes_note"):
        """Lock a table in the block."""
        with psycopg.connect(**self._params) as session:
            session.execute(f"LOCK TABLE {table}")
            yield
            session.rollback()

    def waiting(self):
        """Return the number of sessions of the database that wait for a lock."""
        return self._session.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ).fetchone()[0]

    async def until_waiting(self, number=1):
        """Return when as many sessions wait for a lock."""
        while self.waiting() < number:  # noqa: ASYNC110 - PostgreSQL tells nobody
            await asyncio.sleep(0.01)

    async def until_none_waits(self):
        """Return when no session waits for a lock."""
        while self.waiting():  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)

    def terminate(self, *, waiting=False):
        """End the sessions of the service, or those that wait for a lock; return their number."""
        own = connections["default"].connection
        return len(
            self._session.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                " AND (NOT %s OR wait_event_type = 'Lock') AND backend_type = 'client backend'"
                " AND query NOT LIKE 'LOCK TABLE%%' AND pid <> %s",
                [waiting, own.info.backend_pid if own is not None else 0],
            ).fetchall()
        )

    def close(self):
        self._session.close()


@pytest.fixture
def other(transactional_db):
    """Another session of the test's database."""
    session = Other()
    yield session
    session.close()


class Turns:
    """The greatest time between two turns of the event loop, in a block."""

    def __init__(self):
        self.greatest = 0.0

    async def __aenter__(self):
        self._task = asyncio.ensure_future(self._run())
        await asyncio.sleep(0.02)  # it has begun
        return self

    async def __aexit__(self, *_):
        await asyncio.sleep(0.02)  # it has seen the last turn
        self._task.cancel()

    async def _run(self):
        last = monotonic()
        while True:
            await asyncio.sleep(0.005)
            now = monotonic()
            self.greatest, last = max(self.greatest, now - last), now


def idle_greenlets(wired):
    """Return the number of greenlets without a job."""
    return len(wired.application._process.threads._greenlets._idle)
