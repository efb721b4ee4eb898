"""TLS and HTTP/2 with real clients."""

import asyncio
import json
import socket
import ssl
import subprocess
from contextlib import ExitStack

import httpx
import pytest

from tests.end_to_end.bystanders import HIT, LIVEZ, graphql
from tests.end_to_end.conftest import beside, start, stop
from tests.end_to_end.processes import UNBOUNDED, workers_of
from tests.end_to_end.raw import TIMEOUT, parse, port_of

TAGS = {"query": "{ tags { id name } }"}
MISS = {"query": "{ notes(first: 5) { title } }"}
CLOSE = LIVEZ.replace(b"Host", b"Connection: close\r\nHost")
SLOW = graphql("{ slowQuery(delay: 1) }")
BIG = 4_000_000


@pytest.fixture(scope="module")
def secure(server, tmp_path_factory):
    """A service behind TLS that speaks HTTP/2, with one second for a request head."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = str(folder / "certificate.pem"), str(folder / "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )  # fmt: skip
    environment = beside(
        server.environment,
        **UNBOUNDED,
        TLS_CERTFILE=certificate,
        TLS_KEYFILE=key,
        HTTP2="1",
        PCF_TIMEOUTS_HEAD="1",
    )
    running = start(environment, ssl.create_default_context(cafile=certificate))
    yield running, certificate
    stop(running)


def connected(secure):
    running, certificate = secure
    context = ssl.create_default_context(cafile=certificate)
    plain = socket.create_connection(("127.0.0.1", port_of(running.url)), TIMEOUT)
    return context.wrap_socket(plain, server_hostname="localhost")


def read(client):
    """Return the data until the server closes TLS."""
    received = b""
    while piece := client.recv(65_536):
        received += piece
    return received


def client_of(secure, **options):
    running, certificate = secure
    context = ssl.create_default_context(cafile=certificate)  # httpx changes it
    url = running.url.replace("127.0.0.1", "localhost")
    return httpx.AsyncClient(
        base_url=url, verify=context, timeout=TIMEOUT, trust_env=False, **options
    )


def test_a_client_that_ends_tls_before_its_answer_writes_no_line_into_the_log(secure):
    with connected(secure) as client:
        client.sendall(SLOW)
        client.unwrap().close()
    with connected(secure) as client:
        client.sendall(CLOSE)
        assert read(client).startswith(b"HTTP/1.1 200 ")
    assert "eof_received" not in secure[0].logged()


def test_pipelined_hits_over_tls(secure):
    with connected(secure) as client:
        client.sendall(HIT)
        assert client.recv(65_536).startswith(b"HTTP/1.1 200 ")
        client.sendall(HIT * 30 + LIVEZ * 30 + CLOSE)
        received = read(client)
    assert received.count(b"HTTP/1.1 200 ") == 61
    assert received.count(b'{"data":{"tags":') == 30


def test_a_refused_body_over_tls_gets_its_whole_answer(secure):
    head = b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with connected(secure) as client:
        client.sendall(head + b"Content-Length: %d\r\n\r\n" % BIG)
        answer = parse(read(client))
    assert (answer.status, answer.headers["connection"]) == (413, "close")
    assert json.loads(answer.body)["errors"]


def test_silent_clients_and_unfinished_handshakes_are_disconnected(secure):
    running, _ = secure
    with ExitStack() as stack:
        silent = [stack.enter_context(connected(secure)) for _ in range(20)]
        for _ in range(50):
            plain = socket.create_connection(("127.0.0.1", port_of(running.url)), TIMEOUT)
            stack.enter_context(plain)
            plain.sendall(b"\x16\x03\x01")
        with connected(secure) as client:
            client.sendall(CLOSE)
            assert parse(read(client)).status == 200
        for client in silent:
            assert is_closed(client)


def is_closed(client):
    try:
        return client.recv(1) == b""
    except OSError as error:
        return isinstance(error, (ConnectionResetError, ssl.SSLEOFError))


def test_a_client_without_tls_is_refused_and_the_workers_stay(secure):
    running, _ = secure
    workers = workers_of(running)
    with socket.create_connection(("127.0.0.1", port_of(running.url)), TIMEOUT) as client:
        client.sendall(LIVEZ)
        assert not client.recv(100).startswith(b"HTTP/1.1 200")
    assert workers_of(running) == workers


@pytest.mark.parametrize(("options", "version"), [({"http2": True}, "HTTP/2"), ({}, "HTTP/1.1")])
def test_a_real_client_gets_hits_misses_and_pages(secure, options, version):
    async def talk():
        async with client_of(secure, **options) as client:
            for _ in range(2):
                answer = await client.post("/graphql", json=TAGS)
                assert (answer.status_code, answer.http_version) == (200, version)
                assert len(answer.json()["data"]["tags"]) > 0
            assert answer.headers["cache-status"] == "pcf; hit"
            answer = await client.post("/graphql", json=MISS, headers={"cache-control": "no-store"})
            assert len(answer.json()["data"]["notes"]) == 5
            answer = await client.get("/graphql", params=TAGS)
            assert answer.json()["data"]["tags"]
            assert (await client.get("/livez")).status_code == 200
            assert (await client.get("/nowhere")).status_code == 404
            assert (await client.get("/static/admin/css/base.css")).status_code == 200

    asyncio.run(talk())


def test_a_hundred_streams_of_one_connection_at_once(secure):
    async def talk():
        async with client_of(secure, http2=True) as client:
            assert (await client.get("/livez")).http_version == "HTTP/2"
            requests = [client.post("/graphql", json=TAGS) for _ in range(50)]
            requests += [
                client.post("/graphql", json=MISS, headers={"cache-control": "no-store"})
                for _ in range(50)
            ]
            return await asyncio.gather(*requests)

    answers = asyncio.run(talk())
    assert {answer.status_code for answer in answers} == {200}
    assert all("errors" not in answer.json() for answer in answers)
    assert len(answers) == 100
