"""The client of one generator process: an open loop that sends each request at its intended time.

The client uses sockets and epoll instead of an HTTP library, because it takes its processor time
from the server on the same machine. Linux only.
"""

import re
import select
import socket
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import sqrt
from time import CLOCK_MONOTONIC, clock_gettime, process_time
from typing import NamedTuple

CACHES = ("none", "hit", "miss")  # outcomes of the cache, by number
OUTCOMES = (
    "ok",
    "timeout",
    "connection",
)  # the first outcomes by number; a client adds those that servers cause
MAX_OUTCOMES = 64
MAX_CONNECT = 2.0  # seconds
MICROSECONDS = 26  # bits of a sample's duration: 67 seconds
RECEIVE = 1 << 18  # bytes

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)")
_STATUS = re.compile(rb"\r\ncache-status:[^\r]*; *hit")
_CODE = re.compile(rb'"code": *"([A-Z_]{1,40})"')
_OK = b"200"


@dataclass(frozen=True, slots=True)
class Schedule:
    """The times at which one process sends: every ``of``-th request, from the ``index``-th on.

    During the warm-up the rate rises evenly from 0, so that the service fills its caches. The rate
    is constant afterwards.
    """

    start: float  # of the clock that all processes share
    rate: float  # requests a second of all processes together
    seconds: float  # at this rate, after the warm-up
    index: int = 0
    of: int = 1
    warm_up: float = 0.0  # seconds

    def times(self) -> Iterator[float]:
        """Yield the intended time of each request."""
        rising = round(self.rate * self.warm_up / 2)
        constant = self.start + self.warm_up
        for number in range(self.index, rising + round(self.rate * self.seconds), self.of):
            if number < rising:
                yield self.start + self.warm_up * sqrt(number / rising)
            else:
                yield constant + (number - rising) / self.rate


class Request(NamedTuple):
    """A request of one kind, as bytes.

    The client calls ``on_answer`` once, with the body of an answer that is right, or with None.
    """

    kind: int
    data: bytes
    on_answer: Callable[[bytes | None], None] | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """The result of one request. ``second`` is the second of its intended time."""

    second: int
    kind: int
    cache: int  # index into CACHES
    outcome: int  # index into the outcomes of its process
    micros: int  # from the intended time to the last byte of the answer

    def pack(self) -> int:
        """Return the sample as one number of 64 bits."""
        return pack(self.second, self.kind, self.cache, self.outcome, self.micros)


def pack(second: int, kind: int, cache: int, outcome: int, micros: int) -> int:
    """Return a sample as one number: 20 bits for the second, then 8, 2, 6 and 26 bits."""
    high = (second << 16) | (kind << 8) | (cache << 6) | outcome
    return (high << MICROSECONDS) | min(micros, (1 << MICROSECONDS) - 1)


def unpack(number: int) -> Sample:
    """Return the sample that ``pack`` made ``number`` of."""
    high = number >> MICROSECONDS
    micros = number & ((1 << MICROSECONDS) - 1)
    return Sample(high >> 16, (high >> 8) & 255, (high >> 6) & 3, high & 63, micros)


@dataclass(slots=True)
class Batch:
    """The work of a client since its last batch."""

    samples: list[int]
    lateness: list[int]  # microseconds from the intended to the real sending on an idle connection
    outcomes: list[str]  # of all batches so far
    waiting: int  # requests that wait for an answer or for a connection
    processor: float  # seconds of processor time of this process so far


def clock() -> float:
    """Return the seconds of a clock that all processes of the machine share."""
    return clock_gettime(CLOCK_MONOTONIC)


class _Connection:
    """A kept connection with the state of its request."""

    __slots__ = ("fd", "first", "head", "intended", "missing", "request", "sock")

    def __init__(self, address: tuple[str, int]) -> None:
        self.sock = socket.create_connection(address, timeout=MAX_CONNECT)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.fd = self.sock.fileno()
        self.intended = 0.0  # 0 while idle
        self.request = Request(0, b"")
        self.head = b""
        self.first = b""
        self.missing = -1  # bytes of the body; -1 until the head is complete


class Client:
    """Sends a schedule over at most ``connections`` kept connections, the longest idle first.

    While all connections are busy, requests wait in the client. Durations begin at the intended
    time, so they include this wait. A request without an answer after ``timeout`` seconds counts as
    ``timeout``. The client calls ``report`` with a batch about once a second.
    """

    def __init__(
        self,
        address: tuple[str, int],
        requests: Iterator[Request],
        report: Callable[[Batch], None],
        *,
        connections: int,
        timeout: float,
        control: int | None = None,
        expected: Mapping[int, str] | None = None,
    ) -> None:
        """``expected`` has the code of the user error that a kind's right answers have."""
        self._address = address
        self._requests = requests
        self._report = report
        self._limit = connections
        self._timeout = timeout
        self._control = control  # a descriptor; the run ends when it is readable
        self._expected = expected or {}
        self._outcomes = list(OUTCOMES)
        self._samples: list[int] = []
        self._lateness: list[int] = []
        self._idle: deque[_Connection] = deque()
        self._open: dict[int, _Connection] = {}
        self._backlog: deque[tuple[float, Request]] = deque()
        self._epoll = select.epoll()
        self._start = 0.0

    def run(self, schedule: Schedule) -> None:
        """Send every request and wait for the answers. Raises OSError without a server."""
        self._start = schedule.start
        for _ in range(self._limit):
            self._idle.append(self._connect())
        if self._control is not None:
            self._epoll.register(self._control, select.EPOLLIN)
        try:
            self._loop(schedule.times())
        finally:
            for connection in self._open.values():
                connection.sock.close()
            self._epoll.close()

    def _loop(self, times: Iterator[float]) -> None:
        due = next(times, None)
        tend_at = self._start + 1.0
        wait, poll, epoll_fd = select.select, self._epoll.poll, [self._epoll.fileno()]
        while due is not None or self._backlog or len(self._idle) < len(self._open):
            now = clock()
            while due is not None and due <= now:
                self._send_at(due, now)
                due = next(times, None)
                now = clock()
            if now >= tend_at:
                self._tend(now)
                tend_at = now + 1.0
            pause = tend_at - now if due is None else min(due, tend_at) - now
            # epoll waits in whole milliseconds, select in microseconds
            if pause > 0 and not wait(epoll_fd, (), (), pause)[0]:
                continue
            for fd, _ in poll(0):
                if fd == self._control:
                    due, times = None, iter(())
                    self._backlog.clear()
                    self._epoll.unregister(fd)
                else:
                    self._receive(self._open[fd])
        self._tend(clock())

    def _send_at(self, due: float, now: float) -> None:
        request = next(self._requests)
        if not self._idle and len(self._open) < self._limit:
            try:
                self._idle.append(self._connect())
            except OSError:
                self._failed(due, request, 2, now)
                return
        if self._idle and not self._backlog:
            self._lateness.append(int((now - due) * 1e6))
            self._send(self._idle.popleft(), due, request)
        else:
            self._backlog.append((due, request))

    def _connect(self) -> _Connection:
        connection = _Connection(self._address)
        self._open[connection.fd] = connection
        self._epoll.register(connection.fd, select.EPOLLIN)
        return connection

    def _send(self, connection: _Connection, due: float, request: Request) -> None:
        connection.intended, connection.request = due, request
        connection.missing, connection.first = -1, b""
        try:
            sent = connection.sock.send(request.data)
        except OSError:
            sent = 0
        if sent < len(
            request.data
        ):  # a socket's buffer holds a request unless the server reads nothing
            self._lost(connection, 2)

    def _receive(self, connection: _Connection) -> None:
        try:
            data = connection.sock.recv(RECEIVE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lost(connection, 2)
            return
        if connection.missing < 0:
            data = connection.first + data
            connection.first = data
            end = data.find(b"\r\n\r\n")
            if end < 0:
                return
            connection.head = data[: end + 2].lower()
            length = _LENGTH.search(connection.head)
            if length is None:  # the client does not read chunks
                self._lost(connection, self._number("no Content-Length"))
                return
            connection.missing = end + 4 + int(length[1]) - len(data)
        else:
            connection.missing -= len(data)
            if connection.request.on_answer:
                connection.first += data
        if connection.missing <= 0 and connection.intended:
            self._complete(connection, data)

    def _complete(self, connection: _Connection, last: bytes) -> None:
        now = clock()
        first, head, request = connection.first, connection.head, connection.request
        outcome = self._outcome(request.kind, first, last)
        cache = 0
        if b"\r\ncache-status:" in head:
            cache = 1 if _STATUS.search(head) else 2
        self._sample(connection.intended, request.kind, cache, outcome, now)
        if request.on_answer:
            request.on_answer(None if outcome else first.partition(b"\r\n\r\n")[2])
        connection.intended = 0.0
        connection.first = b""
        if b"\r\nconnection: close" in head:
            self._drop(connection)
        else:
            self._idle.append(connection)
        self._send_waiting()

    def _outcome(self, kind: int, first: bytes, last: bytes) -> int:
        """Return the number of the outcome of a complete answer: 0 for a right one."""
        name = ""
        if first[9:12] != _OK or b'"errors":[' in first or b'"errors":[' in last:
            name = _failure(first[9:12], first)
        elif b'"userErrors":[{' in first:
            name = _failure(b"user error", first)
        expected = self._expected.get(kind)
        if expected and not name:
            return self._number(f"no user error {expected}")
        if not name or (expected and name == f"user error {expected}"):
            return 0
        return self._number(name)

    def _send_waiting(self) -> None:
        while self._backlog and self._idle:
            self._send(self._idle.popleft(), *self._backlog.popleft())

    def _lost(self, connection: _Connection, outcome: int) -> None:
        """Drop a connection that ended; its request, if any, failed with ``outcome``."""
        if connection.intended:
            self._failed(connection.intended, connection.request, outcome, clock())
        else:
            self._idle.remove(connection)
        self._drop(connection)

    def _drop(self, connection: _Connection) -> None:
        self._epoll.unregister(connection.fd)
        connection.sock.close()
        del self._open[connection.fd]

    def _failed(self, due: float, request: Request, outcome: int, now: float) -> None:
        """Count a request that got no answer."""
        self._sample(due, request.kind, 0, outcome, now)
        if request.on_answer:
            request.on_answer(None)

    def _sample(self, due: float, kind: int, cache: int, outcome: int, now: float) -> None:
        second = max(0, int(due - self._start))
        self._samples.append(pack(second, kind, cache, outcome, int((now - due) * 1e6)))

    def _number(self, name: str) -> int:
        """Return the number of an outcome. The last number stands for names beyond the limit."""
        if name not in self._outcomes:
            if len(self._outcomes) == MAX_OUTCOMES:
                return MAX_OUTCOMES - 1
            self._outcomes.append(name)
        return self._outcomes.index(name)

    def _tend(self, now: float) -> None:
        """Time out old requests, replace lost connections that requests wait for, report."""
        oldest = now - self._timeout
        for connection in list(self._open.values()):
            if connection.intended and connection.intended < oldest:
                self._lost(connection, 1)
        while self._backlog and self._backlog[0][0] < oldest:
            due, request = self._backlog.popleft()
            self._failed(due, request, 1, now)
        try:
            while self._backlog and not self._idle and len(self._open) < self._limit:
                self._idle.append(self._connect())
                self._send_waiting()
        except OSError:
            pass  # the requests wait on, up to their timeout
        busy = len(self._open) - len(self._idle) + len(self._backlog)
        self._report(
            Batch(self._samples, self._lateness, list(self._outcomes), busy, process_time())
        )
        self._samples, self._lateness = [], []


def _failure(status: bytes, answer: bytes) -> str:
    """Return the outcome of an answer with errors: its status and the first code in it."""
    code = _CODE.search(answer)
    return " ".join(part.decode("latin-1") for part in (status, code[1] if code else b"") if part)
