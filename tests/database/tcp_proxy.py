"""A TCP proxy that counts round trips to PostgreSQL, and cuts, freezes, delays or refuses."""

import socket
import struct
import threading
import time
from contextlib import suppress
from typing import Self

COMMIT = b"Q\0\0\0\x0bCOMMIT\0"


class Proxy:
    """Listens on a port of its own and forwards to ``host:port``.

    ``round_trips`` counts the frontend messages that the server answers as a whole: simple queries
    (Q) and the end of an extended exchange (S). ``turns`` counts how often a client spoke after
    it had been answered: with ``delay``, how often it waited.
    """

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self.round_trips = 0
        self.turns = 0
        self._answered = True
        self.texts: list[str] = []
        self.flowing = threading.Event()
        self.flowing.set()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.refusing = False
        self.delay = 0.0  # seconds that every answer comes late
        self._cut_size: int | None = None
        self._left: int | None = None  # bytes of answers until everything is cut
        self.freezes_at_commit = False
        self._cut_at_commit, self._commit_of = "", b""
        self._spawn(self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.flowing.set()
        self.cut()
        for thread in self._threads:
            thread.join(5)

    def cut(self) -> None:
        """Break every connection at once, as a crash of the server's host does."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def cut_after(self, size: int | None) -> None:
        """Break every connection each time that ``size`` bytes of results have passed.

        None ends that.
        """
        self._cut_size = self._left = size

    def cut_at_commit(self, *, reaches: bool, of: bytes = b"") -> None:
        """Cut at the next COMMIT, so the client never gets its answer.

        ``reaches``: the server still gets the COMMIT. ``of``: the COMMIT of a connection that has
        sent these bytes. A pool commits, too, when it opens another connection.
        """
        self._commit_of, self._cut_at_commit = of, "after" if reaches else "before"

    def freeze(self) -> None:
        """Hold back all data from now on, without closing a connection."""
        self.flowing.clear()

    def _spawn(self, target, *args) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refusing:
                client.close()
                continue
            try:
                server = socket.create_connection(self.target)
            except OSError:  # the server is away, and so are we
                client.close()
                continue
            self._pairs.append((client, server))
            self._spawn(self._pump, client, server, True)
            self._spawn(self._pump, server, client, False)

    def _pump(self, source: socket.socket, sink: socket.socket, counting: bool) -> None:
        buffer, started, sent_it = b"", False, False
        with source:
            while True:
                try:
                    data = source.recv(65536)
                except OSError:
                    data = b""
                if counting and self.freezes_at_commit and COMMIT in data:
                    self.freeze()
                self.flowing.wait()
                if not counting and data and self.delay:
                    time.sleep(self.delay)
                self.turns += counting and self._answered
                self._answered = not counting
                if counting:
                    buffer, started = self._count(buffer + data, started)
                    wanted = self._commit_of
                    sent_it = sent_it or (wanted != b"" and wanted in data)
                    is_meant = sent_it or not wanted
                    if self._cut_at_commit and is_meant and COMMIT in data:
                        data = self._cut_off(source, data)
                elif self._left is not None:
                    data = self._let_through(sink, data)
                try:
                    if not data:
                        sink.shutdown(socket.SHUT_RDWR)
                        return
                    sink.sendall(data)
                except OSError:
                    return

    def _let_through(self, sink: socket.socket, data: bytes) -> bytes:
        """Return the data to send on: none when the cut falls into ``data``."""
        left, self._left = self._left, self._left - len(data)
        if self._left >= 0:
            return data
        self._left = self._cut_size
        with suppress(OSError):
            sink.sendall(data[:left])
        self.cut()
        return b""

    def _cut_off(self, client: socket.socket, data: bytes) -> bytes:
        """End the connection of a client that commits; return the data for the server."""
        client.shutdown(socket.SHUT_RDWR)
        reaches, self._cut_at_commit = self._cut_at_commit == "after", ""
        return data if reaches else b""

    def _count(self, buffer: bytes, started: bool) -> tuple[bytes, bool]:
        """Count and remove the whole messages in ``buffer``; start-up messages have no type."""
        while len(buffer) >= 5:
            kind = buffer[:1] if started else b""
            (length,) = struct.unpack_from("!I", buffer, len(kind))
            whole = len(kind) + length
            if len(buffer) < whole:
                break
            if kind == b"Q":
                self.texts.append(buffer[5 : whole - 1].decode())
            if kind in (b"Q", b"S"):
                self.round_trips += 1
            if not started:
                # an SSL or GSS request is followed by another start-up message
                started = struct.unpack_from("!I", buffer, 4)[0] == 196608
            buffer = buffer[whole:]
        return buffer, started
