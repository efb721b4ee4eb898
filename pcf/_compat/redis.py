"""redis-py 8: connections that redis-py opens and greets, taken over by PCF.

Undocumented, and used here:

* ``Connection._sock``, the socket of a synchronous connection;
* ``redis._parsers.BaseParser.parse_error``, which makes an exception of an error reply;
* ``redis.asyncio.Connection._writer``, an ``asyncio.StreamWriter``.

``tests/compat/test_redis.py`` fails when one of them changes.
"""

import socket
from typing import Any, NamedTuple

import redis
import redis.asyncio as aio
from redis._parsers import BaseParser

_ASYNC_CLASSES: dict[type, type[aio.Connection]] = {
    redis.Connection: aio.Connection,
    redis.SSLConnection: aio.SSLConnection,
    redis.UnixDomainSocketConnection: aio.UnixDomainSocketConnection,  # type: ignore[dict-item]
}
_OPTIONS = frozenset(
    {"host", "port", "path", "db", "username", "password", "credential_provider", "client_name",
     "protocol", "socket_timeout", "socket_connect_timeout", "socket_keepalive"}
)  # fmt: skip


class OpenConnection(NamedTuple):
    """A connection that redis-py has opened and greeted.

    ``info`` is the server's reply to ``INFO server``. ``seconds`` is the time-out of the socket,
    None for none. ``owner`` closes the socket when it is collected: keep it for as long as the
    socket is used.
    """

    socket: socket.socket
    info: bytes
    seconds: float | None
    owner: Any


def open_connection(pool: Any) -> OpenConnection:
    """Open a connection as redis-py's synchronous ``pool`` does; it does not count for the pool.

    Raises RedisError.
    """
    connection = pool.connection_class(**pool.connection_kwargs)
    connection.connect()
    connection.send_command("INFO", "server", check_health=False)
    info = connection.read_response()
    return OpenConnection(
        connection._sock,  # noqa: SLF001 - documented nowhere
        info,
        connection.socket_timeout,
        connection,
    )


def parse_error(text: str) -> Exception:
    """Return the exception of redis-py for the text of an error reply."""
    error: Exception = BaseParser.parse_error(text)  # type: ignore[no-untyped-call]
    return error


def can_connect(pool: Any) -> bool:
    """Return whether ``connect`` knows the class of connections of a synchronous pool."""
    return pool.connection_class in _ASYNC_CLASSES


async def connect(pool: Any) -> tuple[Any, bytes, Any]:
    """Connect as redis-py's synchronous ``pool`` does, on the running event loop.

    Return the transport of the connection, the server's reply to ``INFO server``, and an object to
    keep for as long as the transport is open. Raises RedisError and OSError.
    """
    given = pool.connection_kwargs
    options = {k: v for k, v in given.items() if k in _OPTIONS or k.startswith("ssl_")}
    connection = _ASYNC_CLASSES[pool.connection_class](**options)
    await connection.connect()  # type: ignore[no-untyped-call]
    await connection.send_command("INFO", "server")
    info = await connection.read_response()
    writer: Any = connection._writer  # noqa: SLF001 - documented nowhere
    connection._writer = None  # noqa: SLF001 - else it closes the transport when it is collected
    return writer.transport, info, writer
