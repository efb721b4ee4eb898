"""No log line holds a text that a client wrote, and no client makes a line long.

The server logs everything that it can: the level is DEBUG, and gunicorn's access log is on.
"""

import os
import secrets
import socket
from collections.abc import Iterator

import pytest

from tests.end_to_end.conftest import Server, beside, start, stop

MAX_LINE = 400  # characters
JSON = "Content-Type: application/json"
BODY = '{"query": "{ me { id } }"}'


def token() -> str:
    return "pcf_" + secrets.token_urlsafe(32)


def word() -> str:
    """Return a secret that looks like any word, so no pattern masks it."""
    return "".join(secrets.choice("ghijklmnop") for _ in range(20))


def get(path: str, *lines: str, method: str = "GET", host: str = "localhost") -> str:
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *lines, "", ""])


def post(path: str, body: str, *lines: str, host: str = "localhost") -> str:
    return get(path, f"Content-Length: {len(body)}", *lines, method="POST", host=host) + body


def form(path: str, body: str, *lines: str) -> str:
    return post(path, body, "Content-Type: application/x-www-form-urlencoded", *lines)


# Each is a request with the token at one place.
REQUESTS = {
    "method": lambda t: get("/", method=t),
    "path": lambda t: get(f"/{t}"),
    "path of the admin": lambda t: get(f"/admin/{t}/"),
    "path of the admin's model": lambda t: get(f"/admin/users/apitoken/{t}/change/"),
    "path of a file": lambda t: get(f"/static/{t}.css"),
    "path, encoded": lambda t: get("/" + "".join(f"%{ord(c):02x}" for c in t)),
    "path that is not UTF-8": lambda t: get(f"/{t}%ff"),
    "path outside of the files": lambda t: get(f"/static/../{t}"),
    "long path": lambda t: get(f"/{t * 150}"),
    "longer path": lambda t: get(f"/{t * 300}"),
    "whole URL": lambda t: get(f"http://localhost/{t}"),
    "host of a URL": lambda t: get(f"http://{t}.example.org/admin/"),
    "query string": lambda t: get(f"/graphql?query={t}&access_token={t}"),
    "query string of a page": lambda t: get(f"/admin/login/?next=/{t}&{t}={t}"),
    "version": lambda t: f"GET / HTTP/{t}\r\nHost: localhost\r\n\r\n",
    "no request": lambda t: f"{t}\r\n\r\n",
    "host": lambda t: get("/admin/", host=f"{t}.example.org"),
    "host that is none": lambda t: get("/admin/", host=f"{t}@x/"),
    "host at the endpoint": lambda t: post("/graphql", BODY, JSON, host=f"{t}.example.org"),
    "host with many characters": lambda t: get("/admin/", host=f"{t * 100}"),
    "two hosts": lambda t: get("/admin/", f"Host: {t}"),
    "Expect": lambda t: post("/graphql", BODY, JSON, f"Expect: {t}"),
    "Expect at a page": lambda t: get("/admin/", f"Expect: {t}"),
    "Referer": lambda t: form("/admin/login/", "a=b", f"Referer: http://x/{t}"),
    "Referer by TLS": lambda t: form(
        "/admin/login/", f"csrfmiddlewaretoken={'a' * 32}", f"Referer: https://x.example/{t}",
        "X-Forwarded-Proto: https", f"Cookie: csrftoken={'a' * 32}",
    ),
    "Origin": lambda t: form("/admin/login/", "a=b", f"Origin: http://{t}.example.org"),
    "CSRF token": lambda t: form(
        "/admin/login/", f"csrfmiddlewaretoken={t}", f"Cookie: csrftoken={t}"
    ),
    "form": lambda t: form("/admin/login/", f"username={t}&password={t}&{t}={t}"),
    "many fields": lambda t: form("/admin/login/", f"{t}=1&" * 1_100),
    "X-Request-ID": lambda t: post("/graphql", "{", JSON, f"X-Request-ID: {t}"),
    "X-Request-ID of a page": lambda t: get("/nowhere", f"X-Request-ID: {t}"),
    "X-Request-Timeout": lambda t: post("/graphql", BODY, JSON, f"X-Request-Timeout: {t}"),
    "traceparent": lambda t: post("/graphql", BODY, JSON, f"traceparent: {t}"),
    "User-Agent": lambda t: get("/nowhere", f"User-Agent: {t}"),
    "Cookie": lambda t: get("/admin/", f"Cookie: sessionid={t}; messages={t}; {t}={t}"),
    "X-Forwarded-For": lambda t: post("/graphql", BODY, JSON, f"X-Forwarded-For: {t}"),
    "header without a colon": lambda t: get("/graphql", t),
    "name of a header": lambda t: get("/graphql", f"{t} x: 1"),
    "name of a header that is none": lambda t: get("/graphql", f"\x01{t}: 1"),
    "value of a header": lambda t: get("/graphql", f"X: \x01{t}"),
    "folded header": lambda t: get("/graphql", f"X: 1\r\n {t}"),
    "long header": lambda t: get("/graphql", f"X: {t * 300}"),
    "many headers": lambda t: get("/graphql", *[f"X-{n}: {t}" for n in range(150)]),
    "Content-Length": lambda t: get("/graphql", f"Content-Length: {t}", method="POST"),
    "Transfer-Encoding": lambda t: get("/graphql", f"Transfer-Encoding: {t}", method="POST"),
    "chunk": lambda t: get("/graphql", JSON, "Transfer-Encoding: chunked", method="POST")
    + f"{t}\r\n",
    "Content-Type": lambda t: post("/graphql", BODY, f"Content-Type: {t}"),
    "charset": lambda t: form("/admin/login/", "a=b", f"Content-Type: text/x; charset={t}"),
    "boundary": lambda t: post(
        "/admin/login/", "x", f"Content-Type: multipart/form-data; boundary={t}\xe9"
    ),
    "Accept": lambda t: get("/graphql", f"Accept: {t}/{t}"),
    "Authorization": lambda t: post("/graphql", BODY, JSON, f"Authorization: Basic {t}"),
    "body": lambda t: post("/graphql", t, JSON),
    "document": lambda t: post("/graphql", f'{{"query": "{{ {t} }}"}}', JSON),
    "document with a string": lambda t: post(
        "/graphql", f'{{"query": "{{ note(id: \\"{t}\\") {{ id }} }}"}}', JSON
    ),
    "name of an operation": lambda t: post(
        "/graphql", f'{{"query": "query {t} {{ me {{ id }} }}", "operationName": "{t}"}}', JSON
    ),
    "alias of a field that fails": lambda t: post(
        "/graphql",
        f'{{"query": "{{ {t.replace("-", "_")}: slowQuery(delay: 9) }}"}}',
        JSON,
        "X-Request-Timeout: 0.2",
    ),
    "id of a document": lambda t: post("/graphql", f'{{"documentId": "{t}"}}', JSON),
    "upgrade": lambda t: get("/graphql", "Connection: upgrade", f"Upgrade: {t}"),
    "web socket": lambda t: get(
        f"/{t}", "Connection: upgrade", "Upgrade: websocket", f"Sec-WebSocket-Key: {t}"
    ),
    "PROXY line": lambda t: f"PROXY TCP4 {t} 1 2 3\r\n" + get("/"),
}  # fmt: skip


@pytest.fixture(scope="module")
def talkative(server, environment) -> Iterator[Server]:
    del server  # it has made the tables
    chatty = beside(
        environment, LOG_LEVEL="DEBUG", ACCESS_LOG="/dev/stderr", WORKERS="1", DEBUG="0",
        PCF_LOGS_ACCESS="true", ALLOWED_HOSTS="localhost",
    )  # fmt: skip
    running = start(chatty)
    yield running
    stop(running)


def send(server: Server, text: str) -> bytes:
    address = "127.0.0.1", int(server.environment["PORT"])
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(text.encode("latin-1"))
        connection.shutdown(socket.SHUT_WR)
        try:
            return b"".join(iter(lambda: connection.recv(65_536), b""))
        except ConnectionResetError:
            return b""


def lines_of(server: Server, request: str) -> list[str]:
    """Return the lines that a request made the server log."""
    before = os.fstat(server.log.fileno()).st_size
    send(server, request)
    # What follows on another connection is logged after it.
    send(server, get("/end-of-test", "Connection: close"))
    added = os.pread(server.log.fileno(), 1 << 24, before).decode(errors="replace")
    return added.splitlines()


@pytest.mark.parametrize("place", REQUESTS)
def test_no_line_has_what_a_client_wrote(talkative, place):
    for secret in (token(), word()):
        lines = lines_of(talkative, REQUESTS[place](secret))
        parts = {secret, secret[4:], secret.lower(), secret[4:20], secret[-20:]}
        parts.add("".join(f"%{ord(c):02x}" for c in secret))
        assert [line for line in lines if any(part in line for part in parts)] == []
        assert [line for line in lines if len(line) > MAX_LINE] == []
        assert "Traceback" not in "".join(lines)
        assert lines


def test_a_foreign_host_is_one_line_of_a_log(talkative):
    lines = lines_of(talkative, get("/admin/", host="foreign.example.org"))
    (line,) = [line for line in lines if "DisallowedHost" in line]
    assert "/admin/" in line
    assert "foreign" not in "".join(lines)
