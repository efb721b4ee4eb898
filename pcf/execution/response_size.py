"""The size of a response while an executor builds it: items of lists, and bytes of JSON.

The bytes are a lower bound: those of names, of punctuation and of texts. So an operation ends
before it has used the memory of a response that the service would refuse. No response within the
limit is refused, unless an error makes a part of it null.
"""

from collections.abc import Callable, Iterable
from math import inf
from typing import Any

from pcf.errors import ResponseTooLarge

# A field of an object has at least two quotation marks, a colon, a comma, and a value of a byte.
FIELD_BYTES = 5
OBJECT_BYTES = 2  # the braces
STEPS = 1_000  # of the count of bytes that others get to know
ERROR_BYTES = 1_000  # more than the JSON of an error: an exception with its frames takes more


def object_bytes(names: Iterable[str]) -> int:
    """Return the least bytes of an object with fields of these ``names``."""
    return OBJECT_BYTES + sum([FIELD_BYTES + len(name) for name in names])


class ResponseSize:
    """The size of one response so far.

    Every method raises ResponseTooLarge when the response exceeds a limit; None means no limit.
    ``on_bytes`` gets the bytes when they are more than a thousandth of ``max_bytes`` since the last
    call. It may raise to end the operation.
    """

    __slots__ = ("_bytes", "_items", "_next", "_on_bytes", "_told", "max_bytes", "max_items")

    def __init__(
        self,
        max_items: int | None = None,
        max_bytes: int | None = None,
        on_bytes: Callable[[int], object] | None = None,
    ) -> None:
        self.max_items = max_items
        self.max_bytes = max_bytes
        self._on_bytes = on_bytes
        self._items = 0
        self._bytes = 0
        self._told = 0  # bytes that ``on_bytes`` knows
        self._next: float = inf  # the bytes beyond which there is something to do
        if max_bytes is not None:
            self._next = max_bytes if on_bytes is None else max_bytes // STEPS

    @property
    def room(self) -> int | None:
        """The number of items that are one too many; None without a limit."""
        return None if self.max_items is None else self.max_items - self._items + 1

    def add_items(self, count: int) -> None:
        """Add the items of lists."""
        self._items += count
        if self.max_items is not None and self._items > self.max_items:
            raise ResponseTooLarge.by_items(self.max_items)

    def add_bytes(self, count: int) -> None:
        """Add bytes of objects: ``object_bytes`` of each."""
        self._bytes += count
        if self._bytes > self._next:
            self.check()

    def add_texts(self, values: Iterable[Any]) -> None:
        """Add serialised values that are texts or None."""
        self.add_bytes(sum(map(len, filter(None, values))))

    def add_error(self) -> None:
        """Add an error, whose exception takes memory until the response is complete."""
        self.add_bytes(ERROR_BYTES)

    def check(self) -> None:
        """Raise ResponseTooLarge when the response exceeds a limit; tell ``on_bytes``."""
        if self.max_items is not None and self._items > self.max_items:
            raise ResponseTooLarge.by_items(self.max_items)
        if self.max_bytes is None:
            return
        if self._bytes > self.max_bytes:
            raise ResponseTooLarge.by_bytes(self.max_bytes)
        if self._on_bytes is not None and self._bytes > self._next:
            count, self._told = self._bytes - self._told, self._bytes
            self._next = min(self.max_bytes, self._bytes + self.max_bytes // STEPS)
            self._on_bytes(count)


UNLIMITED = ResponseSize()
"""The size of a response that has no limits."""
