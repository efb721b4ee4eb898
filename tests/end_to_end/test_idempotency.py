"""A client repeats a mutation with its key, whatever happened to the first attempt: one note."""

import os
import signal
import urllib.error
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.database.tcp_proxy import Proxy
from tests.end_to_end.conftest import beside, start, stop
from tests.end_to_end.test_killed_worker import Tripwire, tripwire, workers_of  # noqa: F401

CREATE = 'createNote(input: {{title: "{}", tagNames: ["idempotent"]}}) {{ note {{ id }} }}'
ATTEMPTS = 60


def repeat(service: Any, title: str) -> Any:
    """Send the mutation until it has an answer; return the answer."""
    for _ in range(ATTEMPTS):
        with suppress(OSError):
            status, _, content = send(service, title)
            if status == 200 and "errors" not in content:
                return content
            assert status in {409, 500, 503}, content
    raise AssertionError("no answer")


def send(service: Any, title: str) -> Any:
    query = f"mutation {{ {CREATE.format(title)} }}"
    return service.post(query, "test-token", **{"Idempotency-Key": f'"{title}"'})


def notes(environment: dict[str, str], title: str) -> list[str]:
    with psycopg.connect(environment["DATABASE_URL"]) as other:
        found = other.execute("SELECT id::text FROM notes_note WHERE title = %s", [title])
        return [key for (key,) in found]


def check(environment: dict[str, str], content: Any, title: str) -> None:
    """Fail unless there is one note, and the answer names it."""
    assert [content["data"]["createNote"]["note"]["id"]] == notes(environment, title)


def test_ten_clients_of_two_workers(server: Any, environment: dict[str, str]) -> None:
    with ThreadPoolExecutor(10) as threads:
        contents = list(threads.map(lambda _: repeat(server, "by ten"), range(10)))
    assert all(content == contents[0] for content in contents)
    check(environment, contents[0], "by ten")


def test_a_worker_killed_between_the_commit_and_the_answer(
    server: Any,
    environment: dict[str, str],
    tripwire: Tripwire,  # noqa: F811
) -> None:
    own = beside(
        environment,
        WORKERS="1",
        REDIS_URL=f"redis://127.0.0.1:{tripwire.port}/0",
        PCF_CACHE_PREFIX=f"{environment['PCF_CACHE_PREFIX']}-idempotent",
    )
    service = start(own)
    try:

        def kill() -> None:
            for worker in workers_of(service.process):
                os.kill(worker, signal.SIGKILL)

        tripwire.sprung = kill
        tripwire.arm()
        with pytest.raises((urllib.error.URLError, OSError)):
            send(service, "killed")
        (key,) = notes(environment, "killed")  # the COMMIT came before
        content = repeat(service, "killed")
        assert content["data"]["createNote"]["note"]["id"] == key
        check(environment, content, "killed")
    finally:
        stop(service)


@pytest.mark.parametrize("reaches", [True, False])
def test_postgresql_lost_at_the_commit(
    server: Any, environment: dict[str, str], reaches: bool
) -> None:
    """Whether the COMMIT arrived or not: the repetition finds its answer, or writes the note."""
    address = urlsplit(environment["DATABASE_URL"])
    with Proxy(address.hostname or "127.0.0.1", address.port or 5432) as proxy:
        url = address._replace(netloc=f"{address.username}@127.0.0.1:{proxy.port}").geturl()
        own = beside(
            environment,
            WORKERS="1",
            DATABASE_URL=f"{url}?sslmode=disable",
            PCF_CACHE_PREFIX=f"{environment['PCF_CACHE_PREFIX']}-cut-{reaches}",
        )
        service = start(own)
        try:
            assert service.post("{ me { id } }", "test-token")[0] == 200  # the token is known
            title = f"cut {reaches}"
            proxy.cut_at_commit(reaches=reaches, of=title.encode())
            status, _, content = send(service, title)
            assert (status, content["errors"][0]["extensions"]["code"]) == (500, "OUTCOME_UNKNOWN")
            content = repeat(service, title)
            check(environment, content, title)
            assert send(service, title)[2] == content
        finally:
            stop(service)
