"""The context of one GraphQL operation: what resolvers find in ``info.context``."""

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from uuid import UUID

from pcf.database.key_types import IntegerKey, KeyType, TextKey, UUIDKey
from pcf.database.query_log import declared_reads
from pcf.execution.dependencies import WHOLE, Dependencies
from pcf.execution.loaders import Loaders
from pcf.viewer import ANONYMOUS, Viewer

_ID_TYPES: dict[type, type[KeyType]] = {int: IntegerKey, str: TextKey, UUID: UUIDKey}


class RequestContext:
    """The viewer of one operation, its loaders, and the dependencies of its response.

    ``max_age`` is the longest time in seconds for which a cache may keep the response. None means
    that nothing has limited it yet, 0 that no cache may keep the response.
    """

    __slots__ = ("dependencies", "loaders", "max_age", "viewer")

    def __init__(self, viewer: Viewer = ANONYMOUS) -> None:
        self.viewer = viewer
        self.dependencies = Dependencies()
        self.loaders = Loaders(viewer, self.dependencies)
        self.max_age: int | None = None
        if viewer.is_authenticated:
            # the account holds the permissions
            self.dependencies.add("account", (viewer.id,), _ID_TYPES.get(type(viewer.id)))

    @contextmanager
    def reads(self, kind: str, *keys: Hashable) -> Iterator[None]:
        """Declare what the statements of the block read: these keys of ``kind``, or the whole list.

        The response depends on them. A resolver needs the block around each statement of its own::

            with info.context.reads("cities"):
                return City.objects.count()

        The block has to fetch the rows: it evaluates a query set, for example by ``list``.
        """
        self.dependencies.add(kind, keys or (WHOLE,))
        with declared_reads():
            yield

    def limit_age(self, seconds: int) -> None:
        """Let caches keep the response for ``seconds`` at most; the smallest value counts."""
        if self.max_age is None or seconds < self.max_age:
            self.max_age = seconds

    def no_store(self) -> None:
        """Forbid caches to keep the response."""
        self.max_age = 0
