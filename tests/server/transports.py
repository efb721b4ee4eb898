"""Transports of asyncio and connections on them, for tests that move the clock."""

from unittest.mock import Mock

from pcf.server.connection import ClientConnection

KEEPALIVE = 75.0  # seconds


class Transport:
    """The methods of asyncio's transports that connections use; ``unread`` counts written bytes."""

    def __init__(self, address, *, tls=False, alpn=None):
        self.unread, self.calls, self.reading, self._tls = 0, [], True, tls
        self._extra = {
            "peername": address,
            "sockname": ("192.0.2.100", 80),
            "ssl_object": Mock(selected_alpn_protocol=lambda: alpn) if tls else None,
        }
        self.protocol = None
        self.closed = False

    def get_extra_info(self, name):
        return self._extra[name]

    def get_write_buffer_size(self):
        return self.unread

    def write(self, data):
        self.unread += len(data)

    def can_write_eof(self):
        return not self._tls

    def write_eof(self):
        self.calls.append("eof")

    def is_reading(self):
        return self.reading

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True
        self.calls.append("read on")

    def is_closing(self):
        return self.closed

    def close(self):
        self.calls.append("close")
        self.closed = True

    def abort(self):
        self.calls.append("abort")
        self.closed = True


class Client:
    """A connection between a transport and a server's protocol, both made by the test."""

    def __init__(self, connections, address="192.0.2.1", **how):
        where = (address, 1) if address else ""
        self.transport = Transport(where, **how)
        self.inner = Mock()
        self.connection = ClientConnection(connections, lambda: self.inner)
        self.connection.connection_made(self.transport)

    @property
    def servers(self):
        """The transport that the server's protocol got, with the first byte."""
        if not self.inner.connection_made.called:
            self.connection.data_received(b"G")
        return self.inner.connection_made.call_args[0][0]

    @property
    def ended(self):
        return bool(self.transport.calls)

    def ask(self):
        self.connection.data_received(b"GET / HTTP/1.1\r\n\r\n")
        self.connection.begin()

    def lose(self):
        self.connection.connection_lost(None)
