"""An HTTP/1.1 client on asyncio that keeps connections and measures the time of each last byte.

The kernel stamps the bytes that arrive (SO_TIMESTAMPNS). A busy event loop reads an answer late.
The stamps keep that delay out of the answer's duration. Linux only.
"""

from __future__ import annotations

import asyncio
import select
import socket
import struct
import time
from collections import deque
from dataclasses import dataclass
from http.client import HTTPException

REUSES = 20  # requests of a connection; a new connection may reach another worker
IDLE = 0.5  # seconds; a worker that ends closes connections that are idle for longer
RECEIVE = 1 << 16  # bytes
SO_TIMESTAMPNS = 35  # socket has no name for it
_STAMP = struct.Struct("@qq")  # seconds and nanoseconds of CLOCK_REALTIME
_SPACE = socket.CMSG_SPACE(_STAMP.size)


class Unread(Exception):
    """The service closed a connection before it read the request."""


@dataclass(slots=True)
class Exchange:
    """The times of one request, in monotonic seconds; 0 stands for the future."""

    due: float
    sent: float = 0.0
    arrived: float = 0.0  # when the last byte reached the machine
    read: float = 0.0  # when the process read the last byte

    def end(self) -> None:
        """Set the missing times to the present, because no answer came."""
        now = time.monotonic()
        self.sent = self.sent or now
        self.read = self.read or now
        self.arrived = self.arrived or now


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer."""

    status: int
    headers: dict[str, str]  # by name in lower case
    body: bytes


class Connection:
    """One connection, for one request at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self.requests = 0
        self.idle_since = 0.0
        self._sock = sock
        self._buffer = bytearray()
        self._received = False  # whether a byte of the current answer has arrived
        self.arrived = 0.0
        self.read = 0.0

    @classmethod
    async def open(cls, address: tuple[str, int]) -> Connection:
        """Open a connection. Raises OSError."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            await _connect(sock, address)
        except BaseException:
            sock.close()
            raise
        return cls(sock)

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()

    def closed_by_service(self) -> bool:
        """Return whether the service has closed the idle connection."""
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True  # the end of the connection, or bytes without a request

    async def exchange(self, request: bytes) -> Answer:
        """Send a request and read its answer.

        Raises Unread when the service closed a kept connection first, else OSError, EOFError or
        HTTPException.
        """
        kept = self.requests > 0
        self.requests += 1
        self._received = False
        try:
            await asyncio.get_running_loop().sock_sendall(self._sock, request)
            return await self._answer()
        except (ConnectionError, EOFError) as error:
            if kept and not self._received and self._was_reset(error):
                raise Unread from error
            raise

    def _was_reset(self, error: Exception) -> bool:
        """Return whether the kernel discarded the request. The kernel resets only unread data.

        ``recv`` does not raise a reset that follows the end of the connection; SO_ERROR has it.
        """
        return isinstance(error, ConnectionError) or bool(
            self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        )

    async def _answer(self) -> Answer:
        version, status = self._status(await self._until(b"\r\n"))
        fields = await self._until(b"\r\n\r\n", already=b"\r\n")
        headers = _headers(fields)
        if "chunked" in headers.get("transfer-encoding", "").lower():
            body = await self._chunks()
        elif "content-length" in headers:
            body = await self._exactly(_number(headers["content-length"], 10))
        else:
            raise HTTPException("neither Content-Length nor chunks")
        if version != "HTTP/1.1" or "close" in headers.get("connection", "").lower():
            self.requests = REUSES
        return Answer(status, headers, body)

    @staticmethod
    def _status(line: bytes) -> tuple[str, int]:
        version, _, rest = line.decode("latin-1").partition(" ")
        return version, _number(rest[:3], 10)

    async def _chunks(self) -> bytes:
        body = bytearray()
        while size := _number((await self._until(b"\r\n")).partition(b";")[0].decode(), 16):
            body += await self._exactly(size)
            await self._until(b"\r\n")
        while await self._until(b"\r\n") != b"\r\n":
            pass  # trailers
        return bytes(body)

    async def _until(self, mark: bytes, already: bytes = b"") -> bytes:
        """Return the bytes up to and with ``mark``, which may begin with ``already`` read bytes."""
        while (place := (already + self._buffer).find(mark)) < 0:
            await self._more()
        return self._take(place + len(mark) - len(already))

    async def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._more()
        return self._take(size)

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    async def _more(self) -> None:
        while True:
            try:
                data, ancillary, _, _ = self._sock.recvmsg(RECEIVE, _SPACE)
                break
            except BlockingIOError:
                await _until_readable(self._sock)
        if not data:
            raise EOFError("the connection ended")
        self._received = True
        self._buffer += data
        self.read = time.monotonic()
        self.arrived = self.read - _age(ancillary)


def _age(ancillary: list[tuple[int, int, bytes]]) -> float:
    """Return the seconds since the kernel stamped the last bytes; 0 without a stamp."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS) and len(data) == _STAMP.size:
            seconds, nanoseconds = _STAMP.unpack(data)
            age: int = time.time_ns() - seconds * 10**9 - nanoseconds
            return max(0, age) / 1e9
    return 0.0


def _headers(fields: bytes) -> dict[str, str]:
    pairs = (line.partition(":") for line in fields.decode("latin-1").splitlines() if line)
    return {name.lower(): value.strip() for name, _, value in pairs}


def _number(text: str, base: int) -> int:
    try:
        return int(text.strip(), base)
    except ValueError as error:
        raise HTTPException(f"not a number: {text!r}") from error


async def _connect(sock: socket.socket, address: tuple[str, int]) -> None:
    """Connect, without a turn of the event loop if the kernel accepts at once."""
    try:
        sock.connect(address)
    except BlockingIOError:
        poll = select.poll()
        poll.register(sock, select.POLLOUT)
        if not poll.poll(0):
            await asyncio.get_running_loop().sock_connect(sock, address)
        elif number := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(number, "connect") from None  # the number selects the subclass


async def _until_readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(sock, _wake, ready)
    try:
        await ready
    finally:
        loop.remove_reader(sock)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class Client:
    """Sends requests to a port of 127.0.0.1, over kept connections where possible.

    The client closes connections that are idle for ``idle`` seconds.
    """

    def __init__(self, port: int, idle: float = IDLE) -> None:
        self.opened = 0  # connections
        self.resent = 0  # requests that the client sent again because the service had not read them
        self._address = ("127.0.0.1", port)
        self._max_idle = idle
        self._idle: deque[Connection] = deque()  # the first one is idle longest

    async def post(
        self, path: str, body: bytes, headers: dict[str, str], exchange: Exchange, deadline: float
    ) -> Answer:
        """Send a request and return its answer.

        The client sends ``deadline`` less the passed seconds as X-Request-Timeout. The service may
        close a kept connection just before a request. The client sends a request again if no
        process has read it (RFC 9110, section 9.2.2); its time goes on.
        """
        while True:
            now = time.monotonic()
            exchange.sent = exchange.sent or now
            left = deadline - (now - exchange.sent)
            if left <= 0:
                raise TimeoutError("the service did not read the request")
            connection = self._idle_one(now) or await self._new_one()
            try:
                return await self._send(connection, path, body, headers, exchange, left)
            except Unread:
                self.resent += 1

    async def _send(
        self,
        connection: Connection,
        path: str,
        body: bytes,
        headers: dict[str, str],
        exchange: Exchange,
        left: float,
    ) -> Answer:
        last = connection.requests + 1 >= REUSES
        lines = {
            "Host": "{}:{}".format(*self._address),
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "X-Request-Timeout": f"{left:.3f}",
            **({"Connection": "close"} if last else {}),
            **headers,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        try:
            answer = await connection.exchange(
                f"POST {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body
            )
        except BaseException:
            connection.close()
            raise
        exchange.read = connection.read
        exchange.arrived = max(exchange.sent, connection.arrived)
        self._keep(connection)
        return answer

    async def _new_one(self) -> Connection:
        self.opened += 1
        return await Connection.open(self._address)

    def _idle_one(self, now: float) -> Connection | None:
        while self._idle and self._idle[0].idle_since <= now - self._max_idle:
            self._idle.popleft().close()
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed_by_service():
                return connection
            connection.close()
        return None

    def _keep(self, connection: Connection) -> None:
        if connection.requests >= REUSES:
            connection.close()
            return
        connection.idle_since = time.monotonic()
        self._idle.append(connection)

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()
