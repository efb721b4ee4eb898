"""The transport that the server's protocol gets from a ``ClientConnection``."""

import asyncio
from collections.abc import Callable
from typing import Any


class ServerTransport:
    """A transport whose ``close`` gives the client time to read, and whose addresses last."""

    def __init__(
        self,
        transport: asyncio.Transport,
        close: Callable[[], None],
        is_closing: Callable[[], bool],
    ) -> None:
        """Pass everything on to ``transport`` but the end of the connection."""
        self._transport = transport
        self.write = transport.write
        self.close = self.write_eof = close
        self.is_closing = is_closing
        # The server asks for each request. When a client left before the connection was accepted,
        # uvloop has no address of it, and raises ValueError once the connection is closed.
        self._addresses = {
            name: transport.get_extra_info(name) for name in ("peername", "sockname")
        }

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what ``asyncio.BaseTransport.get_extra_info`` returns."""
        if name in self._addresses:
            return self._addresses[name]
        return self._transport.get_extra_info(name, default)
