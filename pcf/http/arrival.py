"""How a request arrived: its id, its deadline, and what was found out in front of Django."""

import re
from dataclasses import dataclass, field
from random import getrandbits
from time import perf_counter
from typing import Any, NamedTuple

from pcf.apps import config
from pcf.cache.responses import Lookup
from pcf.http.protocol import GraphQLRequest
from pcf.timeouts import TimeoutContext

REQUEST_ID = "X-Request-ID"
CLIENT = "client"  # the layer of a deadline that the client asked for
_ARRIVAL = "pcf.arrival"  # in the WSGI environ
_SANE_ID = re.compile(r"(?=.*[A-Za-z0-9])[A-Za-z0-9._-]{1,64}")  # "-" stands for none in the log
_SANE_TIMEOUT = re.compile(r"[0-9]{1,4}(\.[0-9]{1,3})?")


class ReadRequest(NamedTuple):
    """A request as it came: what its ``head`` says, by the names of GraphQLRequest's fields, also
    as a ``request`` without a text; and the bytes that say what is ``asked``.
    """

    head: dict[str, Any]
    request: GraphQLRequest
    asked: bytes


@dataclass(slots=True)
class Arrival:
    """One request from its first moment: its id and deadline, and what the front found out.

    ``known_as`` is a digest of its bytes, by which the same request is recognised the next time.
    When the cache was ``asked`` already for ``digest``, ``lookup`` is what it said. ``watched`` is
    set once the watchdog knows of it, ``tried`` once the short way to a hit was. ``read`` is what
    the front has read of it.
    """

    request_id: str
    timeout: TimeoutContext
    started: float = field(default_factory=perf_counter)  # seconds
    known_as: bytes | None = None
    asked: bool = False
    watched: bool = False
    tried: bool = False
    digest: str | None = None
    lookup: Lookup | None = field(default=None, repr=False)
    read: ReadRequest | None = field(default=None, repr=False)

    @property
    def seconds(self) -> float:
        """How long ago it arrived."""
        return perf_counter() - self.started


def arrival_of(environ: dict[str, Any]) -> Arrival:
    """The arrival of the request with this WSGI environ; however often it is asked, the same."""
    arrival: Arrival | None = environ.get(_ARRIVAL)
    if arrival is None:
        given = environ.get("HTTP_X_REQUEST_ID")
        arrival = environ[_ARRIVAL] = Arrival(
            given
            if given and _SANE_ID.fullmatch(given)
            else f"{getrandbits(64):016x}",  # no secret, and no system call
            open_timeout(environ.get("HTTP_X_REQUEST_TIMEOUT")),
        )
    return arrival


def open_timeout(asked: str | None = None) -> TimeoutContext:
    """A request's deadline: the HTTP limit, or the seconds that the client asked for if fewer.

    What is not a number of seconds is as good as not asked.
    """
    limits = config().timeouts
    seconds = limits.http
    layer = "http"
    if asked and _SANE_TIMEOUT.fullmatch(asked) and 0 < float(asked) < seconds:
        seconds, layer = float(asked), CLIENT
    return TimeoutContext.start(
        layer,
        seconds,
        limits={"graphql": limits.graphql, "database": limits.database, "cache": limits.cache},
        reserve=limits.reserve_http,
        reserves={"graphql": limits.reserve_graphql, "": limits.reserve},
    )
