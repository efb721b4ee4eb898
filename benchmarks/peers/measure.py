"""How long one answer takes, and how many a second there are, in closed loops."""

import select
import socket
import statistics
from collections import deque
from collections.abc import Iterator
from time import monotonic, perf_counter

LATEST = 30.0  # seconds for an answer
CONNECTIONS = 16
FEWEST = 3  # answers of a slice, however long they take
HURRY = 0.15  # seconds of a warm-up


class PeerError(Exception):
    """A peer did not answer as it should."""


def connect(port: int) -> socket.socket:
    """A connection to a peer."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=LATEST)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def missing(data: bytes) -> int | None:
    """Bytes of the body that are still to come; None while the head is incomplete."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = data[:end].lower()
    at = head.find(b"\r\ncontent-length:")
    if not data.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")) or at < 0:
        raise PeerError(f"unexpected answer: {data[:300]!r}")
    length = int(head[at + 17 :].split(b"\r\n", 1)[0])
    return end + 4 + length - len(data)


def ask(sock: socket.socket, request: bytes) -> bytes:
    """Send a request and return the body of its answer."""
    sock.sendall(request)
    pieces = [sock.recv(1 << 18)]
    left = missing(pieces[0])
    while left is None:
        pieces = [b"".join([*pieces, sock.recv(1 << 18)])]
        left = missing(pieces[0])
    while left > 0:
        piece = sock.recv(1 << 18)
        if not piece:
            raise PeerError("the connection ended within an answer")
        left -= len(piece)
        pieces.append(piece)
    return b"".join(pieces).split(b"\r\n\r\n", 1)[1]


def one_by_one(port: int, requests: Iterator[bytes], seconds: float) -> float:
    """The median in seconds of requests sent one after another."""
    durations: list[float] = []
    with connect(port) as sock:
        _warm_up(sock, requests)
        deadline = monotonic() + seconds
        while len(durations) < FEWEST or monotonic() < deadline:
            request = next(requests)
            started = perf_counter()
            ask(sock, request)
            durations.append(perf_counter() - started)
    return statistics.median(durations)


def _warm_up(sock: socket.socket, requests: Iterator[bytes]) -> None:
    deadline = monotonic() + HURRY
    ask(sock, next(requests))
    while monotonic() < deadline:
        ask(sock, next(requests))


def side_by_side(port: int, requests: Iterator[bytes], seconds: float) -> float:
    """Answers a second over CONNECTIONS connections that always have a request on its way."""
    socks = {sock.fileno(): sock for sock in (connect(port) for _ in range(CONNECTIONS))}
    epoll = select.epoll()
    left: dict[int, int | None] = {}
    begun: dict[int, bytes] = {}
    try:
        for fd, sock in socks.items():
            epoll.register(fd, select.EPOLLIN)
            sock.sendall(next(requests))
            left[fd], begun[fd] = None, b""
        return _count(epoll, socks, left, begun, requests, seconds)
    finally:
        epoll.close()
        for sock in socks.values():
            sock.close()


def _count(
    epoll: select.epoll,
    socks: dict[int, socket.socket],
    left: dict[int, int | None],
    begun: dict[int, bytes],
    requests: Iterator[bytes],
    seconds: float,
) -> float:
    ends: deque[float] = deque()
    started = monotonic()
    deadline = started + seconds
    busy = len(socks)
    while busy:
        events = epoll.poll(LATEST)
        if not events:
            raise PeerError(f"no answer within {LATEST:g} s")
        for fd, _ in events:
            data = socks[fd].recv(1 << 18)
            if not data:
                raise PeerError("the connection was closed")
            rest = left[fd]
            if rest is None:
                data = begun[fd] + data
                rest = missing(data)
                begun[fd] = data if rest is None else b""
            else:
                rest -= len(data)
            left[fd] = rest
            if rest is None or rest > 0:
                continue
            now = monotonic()
            ends.append(now)
            if now < deadline or len(ends) < FEWEST:
                socks[fd].sendall(next(requests))
                left[fd], begun[fd] = None, b""
            else:
                busy -= 1
    return len(ends) / (ends[-1] - started)
