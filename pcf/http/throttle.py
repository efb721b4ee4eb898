"""How much one client may ask: points of cost in time, and requests at once.

A client is the viewer, and for anonymous requests the network address. Only work that is
about to be executed is charged, so an answer from the cache costs nobody a second round trip.

The rate is a token bucket in Redis, one script and one round trip through the cache's gate, with
its deadline and its breaker; the libraries at hand bring their own connections without either,
or windows instead of buckets. When Redis fails, ``rates.fail_open`` decides: everything is let
through, or refused with SERVICE_UNAVAILABLE.

Requests at once are counted in the process, whose threads they would take from others: that
needs no round trip, and a killed process leaves no count behind.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from threading import Lock

from pcf.apps import config
from pcf.cache.gate import CacheUnavailable, Gate
from pcf.errors import ClientError, LimitExceeded
from pcf.viewer import Viewer

# -> seconds to wait, "0" when the points were there and have been taken
# ARGV: prefix, name of the bucket, its size, points a second, points asked for
TAKE = """
local name = ARGV[1] .. ':r:' .. ARGV[2]
local size, rate, points = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local bucket = redis.call('HMGET', name, 'level', 'at')
local level = tonumber(bucket[1]) or size
level = math.min(size, level + math.max(0, now - (tonumber(bucket[2]) or now)) * rate)
local wait = 0
if level >= points then
  level = level - points
else
  wait = (points - level) / rate
end
redis.call('HSET', name, 'level', string.format('%.6f', level), 'at', string.format('%.6f', now))
redis.call('PEXPIRE', name, math.ceil(size / rate * 1000) + 1000)
return string.format('%.6f', wait)
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

    def charge(self, viewer: Viewer, address: str, points: int) -> None:
        """Take ``points`` from the client's bucket.

        Raises RateLimited when they are not there, and ThrottleUnavailable.
        """
        rates = config().rates
        if not rates.enabled:
            return
        size, rate = rates.address_burst, rates.address_points
        if viewer.is_authenticated:
            size, rate = rates.viewer_burst, rates.viewer_points
        try:
            answer = self._gate.run(
                TAKE, config().cache.prefix, client_name(viewer, address), size, rate, points
            )
        except CacheUnavailable as error:
            if rates.fail_open:
                return
            raise ThrottleUnavailable("The service is too busy now; try again") from error
        wait = float(answer)
        if wait > 0:
            raise RateLimited(rate, wait)

    @contextmanager
    def slot(self, viewer: Viewer, address: str) -> Iterator[None]:
        """One of the client's places among the requests that are being executed.

        Raises TooManyAtOnce when none is left.
        """
        most = config().requests.max_concurrent
        if not most:
            yield
            return
        name = client_name(viewer, address)
        with self._lock:
            count = self._at_once.get(name, 0)
            if count >= most:
                raise TooManyAtOnce(
                    "concurrent", most, f"More than {most} requests at once; wait for the others"
                )
            self._at_once[name] = count + 1
        try:
            yield
        finally:
            with self._lock:
                self._at_once[name] -= 1
                if not self._at_once[name]:
                    del self._at_once[name]


def client_name(viewer: Viewer, address: str) -> str:
    """What a client's count goes by; a digest for addresses, which are personal data."""
    if viewer.is_authenticated:
        return f"v{viewer.id}"
    return "a" + hashlib.blake2b(address.encode(), digest_size=16).hexdigest()
