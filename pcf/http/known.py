"""Requests that are recognised by their bytes, so that a hit need not read them."""

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import Any

from pcf.execution.hints import CacheHint


@dataclass(frozen=True, slots=True)
class Known:
    """What a query whose response may be cached comes to.

    ``digest`` names its response, ``duration`` is the histogram that its answers are counted in.
    """

    digest: str
    hint: CacheHint
    duration: Any


class KnownRequests:
    """A bounded LRU for the threads of a process: digests only, nothing that a client wrote.

    The same bytes mean the same request: document, operation and variables are all in them.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._known: OrderedDict[bytes, Known] = OrderedDict()
        self._lock = Lock()

    def get(self, known_as: bytes | None) -> Known | None:
        """What is known of the request with this digest of its bytes."""
        if known_as is None:
            return None
        with self._lock:
            known = self._known.get(known_as)
            if known is not None:
                self._known.move_to_end(known_as)
        return known

    def add(self, known_as: bytes, known: Known) -> None:
        """Remember a request."""
        with self._lock:
            self._known[known_as] = known
            while len(self._known) > self._size:
                self._known.popitem(last=False)
