"""Measure durations and answers a second in closed loops."""

import itertools
import select
import socket
import statistics
from collections.abc import Iterator, Sequence
from time import monotonic, perf_counter

TIMEOUT = 30.0  # seconds for an answer
MIN_ANSWERS = 3  # answers of a slice at least
WARM_UP = 0.1  # seconds


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
    data, left = _begun(sock)
    pieces = [data]
    while left > 0:
        piece = _received(sock)
        left -= len(piece)
        pieces.append(piece)
    return b"".join(pieces).split(b"\r\n\r\n", 1)[1]


def _begun(sock: socket.socket) -> tuple[bytes, int]:
    """Return the first bytes of an answer with its whole head, and the number of missing ones."""
    data = _received(sock)
    left = missing(data)
    while left is None:
        data += _received(sock)
        left = missing(data)
    return data, left


def _received(sock: socket.socket) -> bytes:
    data = sock.recv(1 << 18)
    if not data:
        raise PeerError("the connection ended within an answer")
    return data


def one_by_one(port: int, requests: Sequence[bytes], seconds: float) -> float:
    """Send requests one after another; return the median duration in seconds."""
    durations: list[float] = []
    endless = itertools.cycle(requests)
    with connect(port) as sock:
        deadline = monotonic() + WARM_UP
        ask(sock, next(endless))
        while monotonic() < deadline:
            ask(sock, next(endless))
        deadline = monotonic() + seconds
        while len(durations) < MIN_ANSWERS or monotonic() < deadline:
            request = next(endless)
            started = perf_counter()
            ask(sock, request)
            durations.append(perf_counter() - started)
    return statistics.median(durations)


def side_by_side(port: int, requests: Sequence[bytes], seconds: float, connections: int) -> float:
    """Keep one request on each of ``connections`` connections; return the answers a second."""
    socks = {sock.fileno(): sock for sock in (connect(port) for _ in range(connections))}
    epoll = select.epoll()
    endless = itertools.cycle(requests)
    try:
        for fd, sock in socks.items():
            epoll.register(fd, select.EPOLLIN)
            sock.sendall(next(endless))
        return _count(epoll, socks, endless, seconds)
    finally:
        epoll.close()
        for sock in socks.values():
            sock.close()


def _count(
    epoll: select.epoll,
    socks: dict[int, socket.socket],
    requests: Iterator[bytes],
    seconds: float,
) -> float:
    """Count answers for ``seconds`` and return the answers a second.

    The server has answered everything at the end, so that it is idle while others are measured.
    """
    left: dict[int, int | None] = dict.fromkeys(socks)  # the missing bytes of an answer
    begun = dict.fromkeys(socks, b"")  # the bytes of an incomplete head
    answers = 0
    ended = started = monotonic()
    deadline = started + seconds
    busy = len(socks)
    while busy:
        events = epoll.poll(TIMEOUT)
        if not events:
            raise PeerError(f"no answer within {TIMEOUT:g} s")
        for fd, _ in events:
            data = _received(socks[fd])
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
            answers += 1
            ended = monotonic()
            if ended < deadline or answers < MIN_ANSWERS:
                socks[fd].sendall(next(requests))
                left[fd] = None
            else:
                busy -= 1
    return answers / (ended - started)
