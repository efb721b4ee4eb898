"""The dependencies of a response: what the operation has read.

A dependency is a kind and a key: ``note:7``, ``notes-by-author:5``. A dependency on a whole list
has the empty key: ``notes``. Loaders record what they read. Writes name what they touch by the same
kinds and keys. The response cache compares the two.

A list of all rows of a model, in the order of their primary keys, also has the keys of its
**blocks**. A block is 256 consecutive primary keys. A full page depends on the blocks from its
first to its last row. A page that reaches the end depends on the whole list. An inserted or deleted
row touches its block and the whole list. So new rows leave the earlier pages in the cache.
"""

from collections.abc import Hashable, Iterable, Iterator
from functools import cache
from typing import Any

from django.db import models

from pcf.database.compiled_queries import CompiledQuery
from pcf.database.key_types import IntegerKey, KeyType, key_type_of


class Whole(str):
    """The class of WHOLE, which tells it from an empty text that is a key."""

    __slots__ = ()


WHOLE = Whole()  # the key of a dependency on a whole list
BLOCK_BITS = 8  # a block's key is the primary key without its lowest 8 bits
MAX_BLOCKS = 16  # blocks of one page; a page over more blocks depends on the whole list


@cache
def has_blocks(model: type[models.Model]) -> bool:
    """Return whether lists of ``model`` have blocks: its primary keys have to be integers."""
    pk = model._meta.pk  # noqa: SLF001 - Django's documented API
    return not pk.is_relation and isinstance(key_type_of(pk), IntegerKey)


def blocks_between(after: int, last: int) -> Iterable[Hashable]:
    """Return the keys of a page whose primary keys are above ``after`` and at most ``last``."""
    blocks = range((after + 1) >> BLOCK_BITS, (last >> BLOCK_BITS) + 1)
    return blocks if len(blocks) <= MAX_BLOCKS else (WHOLE,)


class Dependencies:
    """The dependencies of one response, or what one write touches: keys by kind.

    ``kinds`` holds the kinds of which all keys are meant. ``key_types`` holds the types of the
    keys of a kind, as far as their readers know them. ``undeclared`` is the place of a read that no
    dependency describes: such a response must not be stored. ``statements`` holds the loaders with
    the statements that they have run, the kinds of what each looks for, and whether all columns are
    shown.
    """

    __slots__ = ("_keys", "key_types", "kinds", "statements", "undeclared")

    def __init__(self) -> None:
        self._keys: dict[str, set[Hashable]] = {}
        self.key_types: dict[str, set[type[KeyType]]] = {}
        self.kinds: set[str] = set()
        self.undeclared: str | None = None
        self.statements: set[tuple[Any, CompiledQuery, frozenset[str], bool]] = set()

    def add(
        self, kind: str, keys: Iterable[Hashable], key_type: type[KeyType] | None = None
    ) -> None:
        """Add ``keys`` of ``kind``, whether rows with these keys exist or not.

        ``key_type`` is the type of the keys, where the caller knows it. The response depends on the
        whole kind when writes name its keys by another type.
        """
        if key_type is not None:
            key_types = self.key_types.get(kind)
            if key_types is None:
                self.key_types[kind] = {key_type}
            elif key_type not in key_types:
                key_types.add(key_type)
        known = self._keys.get(kind)
        if known is None:
            self._keys[kind] = set(keys)
        else:
            known.update(keys)

    def add_kind(self, kind: str) -> None:
        """Add all keys of ``kind``, for a write that touches too many keys to name them."""
        self.kinds.add(kind)

    def update(self, other: "Dependencies") -> None:
        """Add everything that ``other`` holds."""
        for kind, keys in other.items():
            self.add(kind, keys)
        for kind, key_types in other.key_types.items():
            self.key_types.setdefault(kind, set()).update(key_types)
        self.kinds.update(other.kinds)
        self.undeclared = self.undeclared or other.undeclared
        self.statements |= other.statements

    def items(self) -> Iterator[tuple[str, set[Hashable]]]:
        """Yield each kind with its keys."""
        yield from self._keys.items()

    def kinds_outside(self, known: frozenset[str]) -> set[str]:
        """Return the kinds of the keys that are not ``known``."""
        return self._keys.keys() - known

    def __len__(self) -> int:
        return sum(map(len, self._keys.values())) + len(self.kinds)

    def __contains__(self, dependency: tuple[str, Hashable]) -> bool:
        kind, key = dependency
        return key in self._keys.get(kind, ())

    def __repr__(self) -> str:
        names = sorted(f"{kind}:{key}" for kind, keys in self.items() for key in keys)
        return f"Dependencies({', '.join(names)})"
