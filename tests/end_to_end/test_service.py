"""Queries, mutations and limits over real sockets: gunicorn, PostgreSQL, Redis."""

import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.databases import seeded_database
from tests.end_to_end.conftest import Server, beside, start, stop

GRAPH = "{ users(first: 100) { id name notes { id title author { name } tags { name } } } }"
NOTES = "{ notes(first: 100) { title isPublic author { id } } }"


@pytest.fixture(scope="module")
def server(environment: dict[str, str]) -> Iterator[Server]:
    """A service whose demo data is as it was made: other files write to that of the folder."""
    with seeded_database("service") as address:
        prefix = f"{environment['PCF_CACHE_PREFIX']}-service"
        running = start(beside(environment, DATABASE_URL=address, PCF_CACHE_PREFIX=prefix))
        yield running
        stop(running)


def test_the_whole_graph(server):
    status, headers, answer = server.post(GRAPH)
    assert (status, headers["Content-Type"]) == (200, "application/json; charset=utf-8")
    users = answer["data"]["users"]
    assert len(users) == 100
    assert all(len(user["notes"]) == 8 for user in users)  # without the two private ones
    assert all(len(note["tags"]) == 3 for user in users for note in user["notes"])


def test_one_miss_then_hits_with_the_demo_token(server):
    server.manage("flush_cache", "--all")
    query = '{ user(id: "1") { notes { title } } }'
    answers = [server.post(query, "test-token") for _ in range(5)]
    assert [headers["Cache-Status"] for _, headers, _ in answers] == [
        "pcf; fwd=miss; stored",
        *["pcf; hit"] * 4,
    ]
    assert {len(answer["data"]["user"]["notes"]) for _, _, answer in answers} == {10}


def test_a_slow_query_ends_at_the_limit_of_the_database_layer(server):
    _, _, answer = server.post("{ slowQuery(delay: 35) }")
    assert answer["errors"][0]["extensions"] == {"code": "TIMEOUT", "layer": "database", "limit": 2}
    assert server.post("{ me { id } }")[2] == {"data": {"me": None}}


def test_metrics_add_up_over_the_workers(server):
    def hits():
        text = server.get("/metrics")[2].decode()
        assert "dataloader_batch_size_bucket" in text
        assert "db_query_count_bucket" in text
        return float(re.search(r"^response_cache_hits_total (\S+)", text, re.MULTILINE)[1])

    server.post("{ tags { id notes { id } } }", **{"Cache-Control": "no-store"})
    server.post("{ tags { id } }")
    before = hits()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: server.post("{ tags { id } }"), range(40)))
    assert hits() - before == 40


def test_viewers_on_many_threads_never_see_each_others_private_notes(server):
    token = {"1": "test-token"}
    username = server.manage(
        "shell",
        "-v",
        "0",
        "-c",
        "from users.models import User; print(User.objects.get(pk=2).username)",
    ).strip()
    token["2"] = server.manage("create_token", username, "--name", "e2e").split()[-1]

    def ask(number):
        viewer = str(number % 3)  # 0 is anonymous
        fresh = {"Cache-Control": "no-store"} if number % 5 == 0 else {}
        return viewer, server.post(NOTES, token.get(viewer), **fresh)[2]["data"]["notes"]

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(ask, range(240)))
    for viewer, notes in answers:
        foreign = [n for n in notes if not n["isPublic"] and n["author"]["id"] != viewer]
        assert foreign == []
        own = [n for n in notes if not n["isPublic"]]
        assert len(own) == (0 if viewer == "0" else 2)


def test_a_mutation_in_one_worker_is_seen_by_the_other(server):
    created = server.post(
        'mutation { createNote(input: {title: "first", isPublic: true}) { note { id } } }',
        "test-token",
    )[2]
    key = created["data"]["createNote"]["note"]["id"]
    query = f'{{ note(id: "{key}") {{ title }} }}'
    for number in range(20):
        values = f'id: "{key}", title: "{number}"'
        server.post(
            f"mutation {{ updateNote(input: {{{values}}}) {{ note {{ id }} }} }}", "test-token"
        )
        with ThreadPoolExecutor(4) as pool:
            seen = {
                a[2]["data"]["note"]["title"]
                for a in pool.map(lambda _: server.post(query), range(4))
            }
        assert seen == {str(number)}
    gone = server.post(
        f'mutation {{ deleteNote(input: {{id: "{key}"}}) {{ deletedId }} }}', "test-token"
    )
    assert gone[2]["data"]["deleteNote"]["deletedId"] == key
    assert server.post(query)[2]["data"] == {"note": None}


def test_probes_and_pages(server):
    assert server.get("/livez")[0] == 200
    assert b'"status": "ok"' in server.get("/health")[2]
    assert b"graphiql" in server.get("/graphql", Accept="text/html")[2].lower()
    assert server.get("/static/admin/css/base.css")[0] == 200
    assert b"Log in" in server.get("/admin/login/")[2]


def test_flush_cache_prints_the_number_of_removed_entries(server):
    server.manage("flush_cache", "--all")
    server.post("{ tags { id } }")
    server.post(NOTES, "test-token")
    assert server.manage("flush_cache", "--type", "Tag") == "1 cached entry of type Tag removed\n"
    assert server.manage("flush_cache", "--user", "1") == "1 cached entry of viewer 1 removed\n"
    assert server.manage("flush_cache", "--user", "1") == "0 cached entries of viewer 1 removed\n"


def test_a_stopping_server_finishes_its_requests(server, environment):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    other: Server = start({**environment, "PORT": str(port)})
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(other.post, "{ slowQuery(delay: 1.5) }")
        while b'"status"' not in other.get("/health")[2] or not slow.running():
            pass
        assert stop(other) == 0
        assert slow.result()[2] == {"data": {"slowQuery": 1.5}}


def test_a_body_shorter_than_its_length_is_refused(server):
    body = b'{"query": "{ me { id } }"}'
    head = b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    port = int(server.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(head + b"Content-Length: 99\r\n\r\n" + body)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100).startswith(b"HTTP/1.1 408")


def test_clients_that_stop_sending_do_not_keep_the_workers(server):
    """There are more of them than threads; each is closed after ``server.body_silence``."""
    port = int(server.url.rpartition(":")[2])
    head = (
        b"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99"
    )
    silent = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(20)]
    try:
        for client in silent:
            client.sendall(head + b"\r\n\r\n{")
        assert server.get("/livez")[0] == 200
        assert silent[0].recv(100).startswith(b"HTTP/1.1 408")
    finally:
        for client in silent:
            client.close()
