"""One GraphQL request on its way through the service."""

from dataclasses import dataclass, field

from pcf.cache.responses import Lookup, entry_name
from pcf.documents.cost import Cost
from pcf.documents.document import Document, Operation
from pcf.execution.hints import NO_HINT, CacheHint
from pcf.http.arrival import Arrival
from pcf.http.protocol import GraphQLRequest
from pcf.http.sources import PRIMARY_SOURCE, Source
from pcf.timeouts import TimeoutContext
from pcf.viewer import ANONYMOUS, Viewer


@dataclass(slots=True)
class Journey:
    """A request and what is known of it so far; filled in as it goes.

    ``viewer`` is None while it is only known by its ``token`` (a digest). ``digest`` is that of a
    response that may be cached; ``lookup`` is what the cache said. ``flies`` is set while this
    journey leads a flight that others may wait for, ``landed`` when they were told its outcome.
    ``source`` is the database that it reads from.
    """

    request: GraphQLRequest
    timeout: TimeoutContext
    arrival: Arrival | None = None
    document: Document | None = None
    operation: Operation | None = None
    cost: Cost | None = None
    token: str | None = field(default=None, repr=False)
    viewer: Viewer | None = ANONYMOUS
    source: Source = PRIMARY_SOURCE
    digest: str | None = None
    lookup: Lookup | None = None
    flies: bool = False
    landed: bool = False

    @property
    def hint(self) -> CacheHint:
        """How the response may be cached, as far as the document tells."""
        return self.operation.hint if self.operation else NO_HINT

    @property
    def points(self) -> int:
        """What executing it costs."""
        return self.cost.points if self.cost else 1

    @property
    def paid(self) -> float | None:
        """See ``Lookup.wait``."""
        return self.lookup.wait if self.lookup is not None else None

    @property
    def entry_name(self) -> str:
        """The name of the response in the cache; only once the viewer is known."""
        return entry_name(self.viewer or ANONYMOUS, self.digest or "", shared=self.hint.is_shared)
