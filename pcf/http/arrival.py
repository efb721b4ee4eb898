"""How a request arrived: its id, its deadline, and what the cache said before it was read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import getrandbits
from time import perf_counter

from django.http import HttpRequest

from pcf.apps import config
from pcf.cache.responses import Lookup
from pcf.timeouts import TimeoutContext

REQUEST_ID = "X-Request-ID"
CLIENT = "client"  # the layer of a deadline that the client asked for
_ARRIVAL = "pcf.arrival"  # in HttpRequest.META
_SANE_ID = re.compile(r"(?=.*[A-Za-z0-9])[A-Za-z0-9._-]{1,64}")  # "-" stands for none in the log
_SANE_TIMEOUT = re.compile(r"[0-9]{1,4}(\.[0-9]{1,3})?")


@dataclass(slots=True)
class Arrival:
    """One HTTP request from its first moment: its id, its deadline, and what the cache said of it.

    ``known_as`` is a digest of its bytes, by which the same request is recognised the next time.
    When the cache was ``asked`` already for ``digest``, ``lookup`` is what it said.
    """

    request_id: str
    timeout: TimeoutContext
    started: float = field(default_factory=perf_counter)  # seconds
    known_as: bytes | None = None
    asked: bool = False
    digest: str | None = None
    lookup: Lookup | None = field(default=None, repr=False)

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> "Arrival":
        """Return the arrival of a request with these headers, now."""
        given = headers.get("x-request-id")
        if not given or not _SANE_ID.fullmatch(given):
            given = f"{getrandbits(64):016x}"  # no secret, and no system call
        return cls(given, open_timeout(headers.get("x-request-timeout")))

    @property
    def seconds(self) -> float:
        """How long ago it arrived."""
        return perf_counter() - self.started


def arrival_of(request: HttpRequest) -> Arrival:
    """Return the arrival of a request of Django's, always the same one.

    The ASGI application puts it there (``keep_arrival``); another server's request has one as soon
    as it is asked for.
    """
    arrival: Arrival | None = request.META.get(_ARRIVAL)
    if arrival is None:
        arrival = Arrival.of(request.headers)
        keep_arrival(request, arrival)
    return arrival


def keep_arrival(request: HttpRequest, arrival: Arrival) -> None:
    """Have ``arrival_of`` return ``arrival`` for ``request``."""
    request.META[_ARRIVAL] = arrival


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
