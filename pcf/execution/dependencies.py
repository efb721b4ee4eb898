"""What a response was computed from.

A dependency is a kind and, for anything but a whole list, a key: ``note:7``,
``notes-by-author:5``, ``notes``. Loaders and list fields record what they read; writes name what
they touch in the same words. The response cache joins the two.

A list of all rows of a model, in the order of their primary keys, has the keys of its **blocks**
as well: 256 consecutive primary keys each. A page that is full depends on the blocks from its
first to its last row, one that reaches the end on the whole list. A row that comes or goes touches
its block and the whole list, so new rows leave the pages before them in the cache.
"""

from collections.abc import Hashable, Iterable, Iterator

from django.db import models

WHOLE = ""  # the key of a dependency on a list as a whole
BLOCK_BITS = 8  # a block is as many bits of a primary key shifted out
MAX_BLOCKS = 16  # of one page; one that spans more, over rows it does not show, is the whole list


def has_blocks(model: type[models.Model]) -> bool:
    """Whether lists of ``model`` have blocks: its primary keys have to be integers."""
    return isinstance(model._meta.pk, models.IntegerField)  # noqa: SLF001


def blocks_between(after: int, last: int) -> Iterable[Hashable]:
    """The keys of a page whose rows lie behind the primary key ``after``, up to ``last``."""
    blocks = range((after + 1) >> BLOCK_BITS, (last >> BLOCK_BITS) + 1)
    return blocks if len(blocks) <= MAX_BLOCKS else (WHOLE,)


class Dependencies:
    """The dependencies of one response, or what one write touches: keys by kind."""

    __slots__ = ("_keys", "kinds")

    def __init__(self) -> None:
        self._keys: dict[str, set[Hashable]] = {}
        self.kinds: set[str] = set()  # of which every key is meant

    def add(self, kind: str, keys: Iterable[Hashable]) -> None:
        """Record that ``keys`` of ``kind`` were read or written; present or absent alike."""
        known = self._keys.get(kind)
        if known is None:
            known = self._keys[kind] = set()
        known.update(keys)

    def add_kind(self, kind: str) -> None:
        """Record every key of ``kind``: a write too large to name what it touches."""
        self.kinds.add(kind)

    def update(self, other: "Dependencies") -> None:
        """Record everything that ``other`` holds as well."""
        for kind, keys in other.items():
            self.add(kind, keys)
        self.kinds.update(other.kinds)

    def items(self) -> Iterator[tuple[str, set[Hashable]]]:
        """Kinds with their keys."""
        yield from self._keys.items()

    def __len__(self) -> int:
        return sum(map(len, self._keys.values())) + len(self.kinds)

    def __contains__(self, dependency: tuple[str, Hashable]) -> bool:
        kind, key = dependency
        return key in self._keys.get(kind, ())

    def __repr__(self) -> str:
        names = sorted(f"{kind}:{key}" for kind, keys in self.items() for key in keys)
        return f"Dependencies({', '.join(names)})"
