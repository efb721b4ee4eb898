"""Limits per client: cost over time (a token bucket in Redis), and concurrent requests.

A client is the viewer; for anonymous requests the client is the network address. Only execution is
charged. A cached response is free. The look-up that misses charges the cost in the same round trip
(``pcf.cache.response_cache``). Operations without a look-up, such as mutations, are charged by a
round trip of their own, ``take_tokens``.

The bucket goes through the cache's Redis gateway, which has the deadline and the circuit breaker.
Libraries for rate limits bring connections without either, or count in windows.

Concurrent requests are counted in the process, because they occupy the threads of the process. The
count needs no round trip, and a killed process leaves no count behind.
"""

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from threading import Lock

from pcf.cache import scripts
from pcf.cache.redis_gateway import CacheUnavailable, RedisGateway
from pcf.cache.response_cache import StoreCost, TokenBucket, TokenCost
from pcf.conf import config
from pcf.errors import ClientError, LimitExceeded
from pcf.viewer import ANONYMOUS, Viewer


class RateLimited(LimitExceeded):
    """The client's bucket holds too few points; ``headers`` say when to try again."""

    code = "RATE_LIMITED"

    def __init__(self, allowed: float, retry_after: float) -> None:
        super().__init__("rate", allowed, "Too much was asked for in a short time; try again later")
        self.headers = {"Retry-After": str(max(1, ceil(retry_after)))}


class TooManyRequests(LimitExceeded):
    """The client has too many requests in execution."""

    code = "TOO_MANY_REQUESTS"
    headers = {"Retry-After": "1"}


class RateLimiterUnavailable(ClientError):
    """Redis cannot tell what the client has used up, and ``rates.fail_open`` is off."""

    code = "SERVICE_UNAVAILABLE"


@dataclass(eq=False, slots=True)
class Slot:
    """A request in execution: its client, its points, and the bytes of its response so far."""

    key: str
    cost: int
    bytes: int = 0


class RateLimiter:
    """Charges clients and limits their concurrent requests; shared by all threads of a process.

    When Redis fails, ``rates.fail_open`` decides. If it is on, every request passes. If it is off,
    requests are refused with SERVICE_UNAVAILABLE. The limit on concurrent requests needs no Redis.
    """

    def __init__(self, gateway: RedisGateway) -> None:
        self._gateway = gateway
        self._lock = Lock()
        self._concurrent: dict[str, list[Slot]] = {}  # requests in execution, by client key

    def token_cost(self, address: str, cost: int) -> TokenCost | None:
        """Return what a look-up charges for ``cost`` points; None when rate limits are off."""
        rates = config().rates
        if not rates.enabled:
            return None
        return TokenCost(
            cost,
            client_key(ANONYMOUS, address),
            TokenBucket(rates.address_burst, rates.address_points),
            TokenBucket(rates.viewer_burst, rates.viewer_points),
        )

    def charge(self, viewer: Viewer, address: str, cost: int) -> None:
        """Take ``cost`` points from the client's bucket.

        Raises RateLimited when the bucket holds too few, and RateLimiterUnavailable.
        """
        token_cost = self.token_cost(address, cost)
        if token_cost is None:
            return
        try:
            retry_after = self._take(token_cost, viewer, address)
        except CacheUnavailable as error:
            if config().rates.fail_open:
                return
            raise RateLimiterUnavailable(
                "The rate limiter is not available now; try again"
            ) from error
        self.check_retry_after(viewer, retry_after)

    @staticmethod
    def check_retry_after(viewer: Viewer, retry_after: float) -> None:
        """Raise RateLimited when the client has to wait more than 0 seconds."""
        if retry_after > 0:
            rates = config().rates
            rate = rates.viewer_points if viewer.is_authenticated else rates.address_points
            raise RateLimited(rate, retry_after)

    def refund(self, viewer: Viewer, address: str, cost: int) -> None:
        """Give back ``cost`` points of an operation that is not executed."""
        token_cost = self.token_cost(address, -cost)
        if token_cost is not None:
            with suppress(CacheUnavailable):
                self._take(token_cost, viewer, address)

    def spend(self, viewer: Viewer, address: str, cost: int) -> None:
        """Take ``cost`` points for work that is done, or what the bucket holds if it is less."""
        token_cost = self.token_cost(address, cost)
        if token_cost is not None and cost > 0:
            with suppress(CacheUnavailable):
                self._take(token_cost, viewer, address, in_part=True)

    def store_cost(self, viewer: Viewer, address: str, points: int) -> StoreCost | None:
        """Return what storing a response costs its client, ``points`` among it.

        None means that it is free: rate limits are off, or Redis does not tell its memory.
        """
        settings = config()
        rates, seconds = settings.rates, settings.cache.default_ttl
        if not rates.enabled or seconds <= 0:
            return None
        memory = self._memory()
        if memory is None:
            return None
        # A full bucket, and what comes back before its entries expire, are the share together.
        share = int(memory * rates.store_share / 2) if rates.store_share < 1 else memory
        bucket = _bucket(viewer)
        return StoreCost(client_key(viewer, address), share, seconds, points, bucket)

    def _memory(self) -> int | None:
        try:
            return self._gateway.memory()
        except CacheUnavailable:
            return None

    def _take(
        self, cost: TokenCost, viewer: Viewer, address: str, *, in_part: bool = False
    ) -> float:
        """Return the seconds to wait, 0.0 when the points were taken. Raises CacheUnavailable."""
        key = client_key(viewer, address)
        return take_tokens(self._gateway, key, _bucket(viewer), cost.points, in_part=in_part)

    def acquire(self, viewer: Viewer, address: str, cost: int = 0) -> Slot | None:
        """Count one more request of the client, which costs ``cost`` points, as in execution.

        Returns the slot for ``release``, None when ``requests.max_concurrent`` sets no limit.
        Raises TooManyRequests. The points bound the memory that the requests of a client take at
        once.
        """
        limits = config().requests
        if not limits.max_concurrent:
            return None
        key = client_key(viewer, address)
        with self._lock:
            slots = self._concurrent.setdefault(key, [])
            if len(slots) >= limits.max_concurrent:
                raise _too_many("concurrent", limits.max_concurrent, "requests")
            if slots and sum(slot.cost for slot in slots) + cost > limits.max_concurrent_cost:
                raise _too_many("concurrent_cost", limits.max_concurrent_cost, "points of requests")
            slot = Slot(key, cost)
            slots.append(slot)
        return slot

    def add_bytes(self, slot: Slot, count: int) -> None:
        """Count bytes of the response that the request in ``slot`` builds.

        Raises TooManyRequests when the client's responses in execution have more bytes together
        than one response may have.
        """
        limit = config().requests.max_response_bytes
        with self._lock:
            slot.bytes += count
            slots = self._concurrent[slot.key]
            if len(slots) > 1 and sum(each.bytes for each in slots) > limit:
                raise _too_many("concurrent_bytes", limit, "bytes of answers")

    def release(self, slot: Slot | None) -> None:
        """Count one request less of the client; ``slot`` is what ``acquire`` returned."""
        if slot is None:
            return
        with self._lock:
            slots = self._concurrent[slot.key]
            slots.remove(slot)
            if not slots:
                del self._concurrent[slot.key]


def _too_many(limit: str, allowed: int, what: str) -> TooManyRequests:
    message = f"More than {allowed} {what} at once; wait for the others"
    return TooManyRequests(limit, allowed, message)


def _bucket(viewer: Viewer) -> TokenBucket:
    rates = config().rates
    if viewer.is_authenticated:
        return TokenBucket(rates.viewer_burst, rates.viewer_points)
    return TokenBucket(rates.address_burst, rates.address_points)


def client_key(viewer: Viewer, address: str) -> str:
    """Return the key of a client's counts.

    The key holds a digest of the address, because an address is personal data.
    """
    if viewer.is_authenticated:
        return f"v{viewer.id_name}"
    return "a" + hashlib.blake2b(address.encode(), digest_size=16).hexdigest()


def take_tokens(
    gateway: RedisGateway, client: str, bucket: TokenBucket, points: int, *, in_part: bool = False
) -> float:
    """Take ``points`` from the bucket of ``client``; give them back when they are negative.

    ``in_part`` takes what the bucket holds where that is less. Return the seconds after which the
    client may come again; 0 means that the points were taken. Redis takes them also where it has no
    room for responses. Raises CacheUnavailable when Redis fails.
    """
    arguments = scripts.ChargeArguments(
        config().cache.prefix, client, *bucket, points, int(in_part)
    )
    return float(gateway.run(scripts.CHARGE, arguments))
