"""HTTP requests as bytes that no client library sends, and their answers."""

import socket
from dataclasses import dataclass

TIMEOUT = 30  # seconds after which a test has failed


@dataclass(frozen=True)
class RawAnswer:
    """The first answer on a connection; ``status`` is 0 when the server closed it without one."""

    status: int
    headers: dict[str, str]
    body: bytes


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def exchange(url: str, data: bytes) -> RawAnswer:
    """Send ``data``, close this side, and read until the server closes."""
    with socket.create_connection(("127.0.0.1", port_of(url)), timeout=TIMEOUT) as client:
        try:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the server refused before the end; its answer may be there
        received = b""
        try:
            while piece := client.recv(65_536):
                received += piece
        except ConnectionResetError:
            pass
    return parse(received)


def parse(received: bytes) -> RawAnswer:
    if not received:
        return RawAnswer(0, {}, b"")
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    if headers.get("content-length", "").isdigit():
        body = body[: int(headers["content-length"])]  # the rest answers later requests
    return RawAnswer(int(first.split(" ")[1]), headers, body)


def request(
    method: bytes = b"POST",
    target: bytes = b"/graphql",
    headers: list[tuple[bytes, bytes]] | None = None,
    body: bytes = b"",
) -> bytes:
    """Return a request with Host, Content-Length and Connection, then ``headers`` unchanged."""
    lines = [
        method + b" " + target + b" HTTP/1.1",
        b"Host: localhost",
        b"Connection: close",
        b"Content-Length: %d" % len(body),
        *(name + b": " + value for name, value in headers or []),
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
