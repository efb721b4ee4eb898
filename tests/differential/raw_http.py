"""Requests to a server as bytes, and its answers until it closes the connection."""

import re
import socket
import time
from dataclasses import dataclass

TIMEOUT = 40  # seconds after which a test has failed
PAUSE = 0.002  # seconds between two segments, so that a server mostly reads them one by one
_HEX = re.compile(rb"[0-9A-Fa-f]+")
_NO_BODY = {204, 304}


@dataclass(frozen=True)
class Answer:
    """One answer of a server; ``whole`` says whether its body has the length of its head."""

    version: str
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    whole: bool = True

    def get(self, name: str) -> str | None:
        """Return the values of a header, joined by commas."""
        found = [value for key, value in self.headers if key == name]
        return ", ".join(found) if found else None


class NotHTTP(AssertionError):
    """A server sent bytes that are no HTTP answer."""


def send(port: int, segments: list[bytes]) -> bytes:
    """Send segments and the end of the stream; return all that the server sends."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for number, segment in enumerate(segments):
                if number:
                    time.sleep(PAUSE)
                client.sendall(segment)
            client.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the server closed before the end; its answer may be there
        try:
            while piece := client.recv(262_144):
                received += piece
        except ConnectionResetError:
            pass
    return received


def answers_in(received: bytes, heads: frozenset[str] = frozenset()) -> list[Answer]:
    """Return the answers in a stream of bytes.

    ``heads`` are the values of X-Request-ID of requests with the method HEAD, whose answers have
    no body.
    """
    answers = []
    while received:
        answer, received = _first(received, heads)
        answers.append(answer)
    return answers


def _first(received: bytes, heads: frozenset[str]) -> tuple[Answer, bytes]:
    head, end, rest = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    found = re.fullmatch(r"HTTP/(\d\.\d) (\d{3}) ?[^\r\n]*", first)
    if found is None or not end:
        raise NotHTTP(received[:300])
    version, status = found[1], int(found[2])
    headers = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise NotHTTP(received[:300])
        headers.append((name.lower(), value.strip()))
    answer = Answer(version, status, tuple(headers), b"")
    if status < 200 or status in _NO_BODY or answer.get("x-request-id") in heads:
        return answer, rest
    if heads and (not rest or rest.startswith(b"HTTP/1.")):
        return answer, rest  # no id: a probe, or a request with two ids
    length = answer.get("content-length")
    if answer.get("transfer-encoding") == "chunked":
        body, rest, whole = _chunks(rest)
    elif length is not None:
        body, rest = rest[: int(length)], rest[int(length) :]
        whole = len(body) == int(length)
    else:
        body, rest, whole = rest, b"", True
    return Answer(version, status, tuple(headers), body, whole), rest


def _chunks(rest: bytes) -> tuple[bytes, bytes, bool]:
    body = b""
    while True:
        size, end, rest = rest.partition(b"\r\n")
        if not end:
            return body, b"", False
        if not _HEX.fullmatch(size):
            raise NotHTTP(size[:300])
        length = int(size, 16)
        body += rest[:length]
        if len(rest) < length + 2:
            return body, b"", False
        rest = rest[length + 2 :]
        if not length:
            return body, rest, True
