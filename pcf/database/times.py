"""Times as they are read: those in UTC by Python's own parser, ten times faster than psycopg's."""

from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Any

from psycopg import adapters
from psycopg.abc import AdaptContext, Buffer, Loader
from psycopg.adapt import AdaptersMap
from psycopg.pq import Format

_OID = adapters.types["timestamptz"].oid
_UTC = b"+00"  # at the end of a time, as a session writes it whose zone has no offset then


class ReadContext:
    """As ``context``, but for the times: they have the zone ``timezone``, as Django gives it."""

    def __init__(self, context: AdaptContext, timezone: tzinfo | None) -> None:
        self.connection = context.connection
        self.adapters = context.adapters
        usual = context.adapters.get_loader(_OID, Format.TEXT)
        if timezone is UTC and usual is not None:
            self.adapters = AdaptersMap(context.adapters)
            self.adapters.register_loader(_OID, _fast(usual))


@lru_cache(maxsize=16)
def _fast(usual: type[Loader]) -> type[Loader]:
    class UtcLoader(usual):  # type: ignore[valid-type, misc]
        def load(self, data: Buffer) -> Any:
            text = bytes(data)
            if text.endswith(_UTC):
                try:
                    return datetime.fromisoformat(text.decode())
                except ValueError:  # years that Python does not know: the usual one says so
                    pass
            return super().load(data)

    return UtcLoader
