"""redis-py: the transport of a connection that its asyncio client has opened and greeted.

Undocumented, and used here: ``Connection._writer``, an ``asyncio.StreamWriter``.
"""

from typing import Any

import redis
import redis.asyncio as aio

_KINDS: dict[type, type[aio.Connection]] = {
    redis.Connection: aio.Connection,
    redis.SSLConnection: aio.SSLConnection,
    redis.UnixDomainSocketConnection: aio.UnixDomainSocketConnection,  # type: ignore[dict-item]
}
_OPTIONS = frozenset(
    {"host", "port", "path", "db", "username", "password", "credential_provider", "client_name",
     "protocol", "socket_timeout", "socket_connect_timeout", "socket_keepalive"}
)  # fmt: skip


def can_connect(pool: Any) -> bool:
    """Return whether ``connect`` knows the kind of connection of a synchronous pool."""
    return pool.connection_class in _KINDS


async def connect(pool: Any) -> tuple[Any, bytes, Any]:
    """Connect as the synchronous ``pool`` of redis-py does.

    Returns the connection's transport, the server's reply to ``INFO server``, and what has to be
    kept for as long as the transport is open. Raises RedisError and OSError.
    """
    given = pool.connection_kwargs
    options = {k: v for k, v in given.items() if k in _OPTIONS or k.startswith("ssl_")}
    connection = _KINDS[pool.connection_class](**options)
    await connection.connect()  # type: ignore[no-untyped-call]
    await connection.send_command("INFO", "server")
    info = await connection.read_response()
    writer: Any = connection._writer  # noqa: SLF001
    connection._writer = None  # noqa: SLF001 - else it closes the transport when it is collected
    return writer.transport, info, writer
