"""A pooler that shares sessions between transactions, as PgBouncer does in transaction mode.

The pooler reads the protocol to find the end of a transaction. A client has a session of the server
from the first message of a transaction to the ``ReadyForQuery`` with the status "idle".
"""

import os
import queue
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any, Self

import psycopg

_SSL, _CANCEL, _GSS = 80877103, 80877102, 80877104
_ANSWERED = {b"Q", b"S", b"F"}  # messages after which the server says ReadyForQuery
_TOLD = (
    b"server_version",
    b"server_encoding",
    b"client_encoding",
    b"DateStyle",
    b"TimeZone",
    b"integer_datetimes",
    b"standard_conforming_strings",
)


class TransactionPooler:
    """Listens on ``port`` and shares ``size`` sessions, opened with psycopg's ``params``."""

    def __init__(self, params: dict[str, Any], size: int = 1) -> None:
        self._idle: queue.Queue[psycopg.Connection[Any]] = queue.Queue()
        self._params = params
        self._sessions: list[psycopg.Connection[Any]] = []
        for _ in range(size):
            self._open()
        self._held: dict[int, psycopg.Connection[Any]] = {}  # by client
        self._clients: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._spawn(self._accept)

    def _open(self) -> None:
        session = psycopg.connect(**self._params, autocommit=True, options="-c timezone=UTC")
        self._sessions.append(session)
        self._idle.put(session)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for end in (self._listener, *self._clients):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self._listener.close()
        for session in self._sessions:
            session.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._clients.append(client)
            self._spawn(self._serve, client)

    def _spawn(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self, client: socket.socket) -> None:
        number = id(client) & 0x7FFFFFFF
        with suppress(OSError, psycopg.Error), client:
            if self._greet(client, number):
                self._relay(client, number)
        session = self._held.pop(number, None)
        if session is not None:  # left in the middle of a transaction, as PgBouncer does it
            session.close()
            self._open()

    def _greet(self, client: socket.socket, number: int) -> bool:
        """Answer the start-up message without asking for a password; return False for others."""
        while True:
            (length, code) = struct.unpack("!II", _exactly(client, 8))
            rest = _exactly(client, length - 8)
            if code not in {_SSL, _GSS}:
                break
            client.sendall(b"N")
        if code == _CANCEL:
            held = self._held.get(struct.unpack("!I", rest[:4])[0])
            if held is not None:
                held.cancel_safe(timeout=5)
            return False
        told = b""
        for name in _TOLD:
            value = self._sessions[-1].pgconn.parameter_status(name) or b""
            told += _message(b"S", name + b"\0" + value + b"\0")
        key = _message(b"K", struct.pack("!II", number, 1))
        client.sendall(_message(b"R", struct.pack("!I", 0)) + told + key + _message(b"Z", b"I"))
        return True

    def _relay(self, client: socket.socket, number: int) -> None:
        with ExitStack() as stack:
            self._talk(client, number, stack)

    def _talk(self, client: socket.socket, number: int, stack: ExitStack) -> None:
        talk = _Talk()
        server: socket.socket | None = None
        while True:
            ready = select.select([end for end in (client, server) if end], [], [])[0]
            if client in ready:
                data = client.recv(65536)
                if not data or talk.asked(data):
                    return
                if server is None:
                    session = self._held[number] = self._idle.get()
                    server = socket.socket(fileno=os.dup(session.pgconn.socket))
                    server.setblocking(True)
                    stack.callback(server.close)
                server.sendall(data)
            if server in ready and server is not None:
                data = server.recv(65536)
                client.sendall(data)
                if not data or talk.answered(data):
                    server.close()
                    server = None
                    self._idle.put(self._held.pop(number))


class _Talk:
    """Follows both directions of a client's exchange with a session."""

    def __init__(self) -> None:
        self._from_client, self._from_server = _Messages(), _Messages()
        self._owed = 0  # answers that the server has yet to give
        self._simple = False

    def asked(self, data: bytes) -> bool:
        """Read data from the client; return whether the client ends the connection."""
        for kind, _ in self._from_client.feed(data):
            if kind == b"X":
                return True
            if kind in _ANSWERED:
                self._owed += 1
                self._simple = kind == b"Q"
        return False

    def answered(self, data: bytes) -> bool:
        """Read data from the server; return whether the transaction has ended."""
        over = False
        for kind, message in self._from_server.feed(data):
            if kind == b"G" and not self._simple:
                self._owed = 0  # the server overlooks the Sync before a COPY's data
            elif kind == b"Z":
                self._owed -= 1
                over = self._owed <= 0 and message[5:] == b"I"
        return over


class _Messages:
    """Cuts a stream into messages: one byte for the kind, four for the length, content."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        self._buffer += data
        while len(self._buffer) >= 5:
            whole = 1 + struct.unpack_from("!I", self._buffer, 1)[0]
            if len(self._buffer) < whole:
                return
            message, self._buffer = self._buffer[:whole], self._buffer[whole:]
            yield message[:1], message


def _message(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("!I", len(content) + 4) + content


def _exactly(client: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = client.recv(count - len(data))
        if not more:
            raise OSError("the client has gone")
        data += more
    return data
