"""The state of a request: what the engine knows of it before and after it reads the document."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import getrandbits
from time import perf_counter
from typing import Any, NamedTuple

from django.http import HttpRequest

from pcf.cache.keys import entry_name
from pcf.cache.response_cache import LookupResult
from pcf.conf import config
from pcf.documents.cost import Cost
from pcf.documents.document import Document, Operation
from pcf.execution.bound_operation import BoundOperation
from pcf.http.request import GraphQLRequest
from pcf.timeouts import TimeoutContext
from pcf.viewer import Viewer

REQUEST_ID = "X-Request-ID"
CLIENT_LAYER = "client"  # the layer of a deadline that the client chose
_META_KEY = "pcf.request_state"  # in HttpRequest.META
# An id is in every log line, so a text that may be a credential is none: UUIDs, trace ids and ULIDs
# are, and short names. The log writes "-" for no id.
_VALID_ID = re.compile(r"(?=.*[A-Za-z0-9])(?:[A-Fa-f0-9-]{1,64}|[A-Z0-9]{26}|[A-Za-z0-9._-]{1,16})")
_VALID_TIMEOUT = re.compile(r"[0-9]{1,4}(\.[0-9]{1,3})?")  # seconds


@dataclass(frozen=True, slots=True)
class EarlyLookup:
    """The cache's reply to a look-up by the request's bytes, before the document is read.

    ``digest`` and ``shared`` name the response that the look-up asked for (``LookupRequest``).
    ``result`` is None when Redis failed.
    """

    digest: str
    shared: bool
    result: LookupResult | None = field(repr=False)


@dataclass(slots=True)
class RequestState:
    """One HTTP request: its id, its deadline, and what the server found out before the service.

    Each attribute is set in one place:

    - ``from_headers`` sets ``request_id``, ``timeout`` and ``started`` (seconds, perf_counter).
    - ``pcf.server.messages.read_request`` sets ``raw_digest``, the SHA-256 digest of the method and
      the body, or of the method and the query string. ``KnownRequests`` finds the request by it.
    - ``pcf.server.application`` sets ``early_lookup`` after a look-up that found no response.
      ``take_early_lookup`` removes it.
    """

    request_id: str
    timeout: TimeoutContext
    started: float = field(default_factory=perf_counter)
    raw_digest: bytes | None = None
    early_lookup: EarlyLookup | None = field(default=None, repr=False)

    @classmethod
    def from_headers(cls, headers: Mapping[str, str]) -> "RequestState":
        """Return the state of a request that has just come in with these headers."""
        request_id = headers.get("x-request-id")
        if not request_id or not _VALID_ID.fullmatch(request_id):
            request_id = f"{getrandbits(64):016x}"  # the id is no secret; no system call is needed
        return cls(request_id, open_timeout(headers.get("x-request-timeout")))

    @property
    def elapsed(self) -> float:
        """The seconds since the request came in."""
        return perf_counter() - self.started

    def take_early_lookup(self, digest: str | None) -> EarlyLookup | None:
        """Remove and return the early look-up if it asked for the response ``digest``."""
        early = self.early_lookup
        if early is None or early.digest != digest:
            return None
        self.early_lookup = None
        return early


class ReadOperation(NamedTuple):
    """The operation of a request: its document, and its cost with the variables of the request.

    ``bound`` is its plan with these variables. None means that the execution finds the plan.
    """

    document: Document
    operation: Operation
    cost: Cost
    bound: BoundOperation | None = None


class PreparedOperation(NamedTuple):
    """An operation that the service has read and checked, ready to be looked up and executed.

    ``digest`` names the response in the cache; None means that the response must not be cached.
    ``token`` is the digest of the bearer token. ``viewer`` is None when the request has a token:
    ``CacheLookup`` finds the viewer. ``state`` is None for a part of a batch and for a command.
    ``bound`` is that of ReadOperation.
    """

    request: GraphQLRequest
    timeout: TimeoutContext
    state: RequestState | None
    document: Document
    operation: Operation
    digest: str | None
    cost: Cost
    token: str | None
    viewer: Viewer | None
    bound: BoundOperation | None = None

    def __repr__(self) -> str:
        """Leave out what is private."""
        return f"PreparedOperation(document={self.document!r}, operation={self.operation!r})"

    def cost_extensions(self) -> dict[str, Any]:
        """Return the extensions of the response: the cost, for a client that asks for it."""
        if not self.request.wants_cost:
            return {}
        return {"extensions": {"cost": self.cost.report(config().documents.max_cost)}}

    def entry_name(self, viewer: Viewer) -> str:
        """Return the name of the response to ``viewer`` in the cache."""
        return entry_name(viewer, self.digest or "", shared=self.operation.hint.is_shared)


def request_state_of(request: HttpRequest) -> RequestState:
    """Return the state of one of Django's requests, always the same object.

    The ASGI application attaches the state. On another server the first call makes it.
    """
    state: RequestState | None = request.META.get(_META_KEY)
    if state is None:
        state = RequestState.from_headers(request.headers)
        attach_request_state(request, state)
    return state


def attach_request_state(request: HttpRequest, state: RequestState) -> None:
    """Make ``request_state_of`` return ``state`` for ``request``."""
    request.META[_META_KEY] = state


def open_timeout(requested: str | None = None) -> TimeoutContext:
    """Return the deadline of a request that begins now.

    The limit is ``timeouts.http``, or the ``requested`` seconds when these are fewer. Text that is
    no number of seconds is ignored.
    """
    limits = config().timeouts
    seconds, layer = limits.http, "http"
    if requested and _VALID_TIMEOUT.fullmatch(requested) and 0 < float(requested) < seconds:
        seconds, layer = float(requested), CLIENT_LAYER
    return TimeoutContext.start(
        layer,
        seconds,
        limits={"graphql": limits.graphql, "database": limits.database, "cache": limits.cache},
        reserve=limits.reserve_http,
        reserves={"graphql": limits.reserve_graphql, "": limits.reserve},
    )
