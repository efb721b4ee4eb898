"""Measure durations and answers a second in closed loops."""

import select
import socket
import statistics
from collections import deque
from collections.abc import Iterator
from time import monotonic, perf_counter

TIMEOUT = 30.0  # seconds for an answer
CONNECTIONS = 16
MIN_ANSWERS = 3  # answers of a slice at least
WARM_UP = 0.15  # seconds


class PeerError(Exception):
    """A peer gave no answer, or not the expected one."""


def connect(port: int) -> socket.socket:
    """Open a connection to a peer."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def missing(data: bytes) -> int | None:
    """Return the number of missing bytes of the body; None while the head is incomplete."""
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
    """Send requests one after another; return the median duration in seconds."""
    durations: list[float] = []
    with connect(port) as sock:
        _warm_up(sock, requests)
        deadline = monotonic() + seconds
        while len(durations) < MIN_ANSWERS or monotonic() < deadline:
            request = next(requests)
            started = perf_counter()
            ask(sock, request)
            durations.append(perf_counter() - started)
    return statistics.median(durations)


def _warm_up(sock: socket.socket, requests: Iterator[bytes]) -> None:
    deadline = monotonic() + WARM_UP
    ask(sock, next(requests))
    while monotonic() < deadline:
        ask(sock, next(requests))


def side_by_side(port: int, requests: Iterator[bytes], seconds: float) -> float:
    """Keep one request on each of CONNECTIONS connections; return the answers a second."""
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
    """Count answers for ``seconds`` and return the answers a second.

    ``left`` has the missing bytes and ``begun`` the bytes of an incomplete head by descriptor.
    """
    ends: deque[float] = deque()
    started = monotonic()
    deadline = started + seconds
    busy = len(socks)
    while busy:
        events = epoll.poll(TIMEOUT)
        if not events:
            raise PeerError(f"no answer within {TIMEOUT:g} s")
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
            if now < deadline or len(ends) < MIN_ANSWERS:
                socks[fd].sendall(next(requests))
                left[fd], begun[fd] = None, b""
            else:
                busy -= 1
    return len(ends) / (ends[-1] - started)
