"""How much one client may ask: points of cost in time, and requests at once.

A client is the viewer, and for anonymous requests the network address. Only work that is
about to be executed is charged: by the look-up that missed (``pcf.cache.tolls``), so that nobody
pays for an answer from the cache, and no miss with a round trip of its own; what is not looked up
(mutations, say) by one.

The rate is a token bucket in Redis, asked through the cache's gate, with its deadline and its
breaker; the libraries at hand bring their own connections without either, or windows instead of
buckets. When Redis fails, ``rates.fail_open`` decides: everything is let through, or refused with
SERVICE_UNAVAILABLE.

Requests at once are counted in the process, whose threads they would take from others: that
needs no round trip, and a killed process leaves no count behind.
"""

import hashlib
from contextlib import suppress
from math import ceil
from threading import Lock

from pcf.apps import config
from pcf.cache.gate import CacheUnavailable, Gate
from pcf.cache.tolls import TAKE, Bucket, Toll
from pcf.errors import ClientError, LimitExceeded
from pcf.viewer import ANONYMOUS, Viewer

# -> seconds to wait, 0 when the points were there and have been taken
# ARGV: prefix, name of the bucket, its size, points a second, points asked for
CHARGE = f"""{TAKE}
return take(ARGV[1] .. ':r:' .. ARGV[2], ARGV[3], ARGV[4], ARGV[5])
"""


class RateLimited(LimitExceeded):
    """The client has used up its points; ``headers`` say when to come back."""

    code = "RATE_LIMITED"

    def __init__(self, allowed: float, wait: float) -> None:
        super().__init__("rate", allowed, "Too much was asked for in a short time; try again later")
        self.headers = {"Retry-After": str(max(1, ceil(wait)))}


class TooManyAtOnce(LimitExceeded):
    """Too many requests of this client are being executed."""

    code = "TOO_MANY_REQUESTS"
    headers = {"Retry-After": "1"}


class ThrottleUnavailable(ClientError):
    """It cannot be known how much the client has asked for, and that is not to be let pass."""

    code = "SERVICE_UNAVAILABLE"


class Throttle:
    """Admits clients; shared by the threads of a process."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._lock = Lock()
        self._at_once: dict[str, int] = {}

    def toll(self, address: str, points: int) -> Toll | None:
        """What a look-up has to charge; None where nobody pays."""
        rates = config().rates
        if not rates.enabled:
            return None
        return Toll(
            points,
            client_name(ANONYMOUS, address),
            Bucket(rates.address_burst, rates.address_points),
            Bucket(rates.viewer_burst, rates.viewer_points),
        )

    def charge(self, viewer: Viewer, address: str, points: int) -> None:
        """Take ``points`` from the client's bucket.

        Raises RateLimited when they are not there, and ThrottleUnavailable.
        """
        toll = self.toll(address, points)
        if toll is None:
            return
        try:
            wait = self._take(toll, viewer, address)
        except CacheUnavailable as error:
            if config().rates.fail_open:
                return
            raise ThrottleUnavailable("The service is too busy now; try again") from error
        self.admit(viewer, wait)

    @staticmethod
    def admit(viewer: Viewer, wait: float) -> None:
        """Raises RateLimited for a client that may come again after ``wait`` seconds only."""
        if wait > 0:
            rates = config().rates
            rate = rates.viewer_points if viewer.is_authenticated else rates.address_points
            raise RateLimited(rate, wait)

    def give_back(self, viewer: Viewer, address: str, points: int) -> None:
        """Return points that were taken for what is not executed after all."""
        toll = self.toll(address, -points)
        if toll is not None:
            with suppress(CacheUnavailable):
                self._take(toll, viewer, address)

    def _take(self, toll: Toll, viewer: Viewer, address: str) -> float:
        name = client_name(viewer, address)
        bucket = toll.viewers if viewer.is_authenticated else toll.addresses
        return float(self._gate.run(CHARGE, config().cache.prefix, name, *bucket, toll.points))

    def take_place(self, viewer: Viewer, address: str) -> str | None:
        """One of the client's places among the requests that are being executed, to be left with
        ``leave_place``; None where there is no limit.

        Raises TooManyAtOnce when none is left.
        """
        most = config().requests.max_concurrent
        if not most:
            return None
        name = client_name(viewer, address)
        with self._lock:
            count = self._at_once.get(name, 0)
            if count >= most:
                raise TooManyAtOnce(
                    "concurrent", most, f"More than {most} requests at once; wait for the others"
                )
            self._at_once[name] = count + 1
        return name

    def leave_place(self, place: str | None) -> None:
        """The request that had this place is over."""
        if place is None:
            return
        with self._lock:
            self._at_once[place] -= 1
            if not self._at_once[place]:
                del self._at_once[place]


def client_name(viewer: Viewer, address: str) -> str:
    """What a client's count goes by; a digest for addresses, which are personal data."""
    if viewer.is_authenticated:
        return f"v{viewer.id}"
    return "a" + hashlib.blake2b(address.encode(), digest_size=16).hexdigest()
