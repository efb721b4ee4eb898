"""The context of one GraphQL operation: what resolvers find in ``info.context``."""

from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple
from uuid import UUID

from django.db.models import Model

from pcf.database.key_types import IntegerKey, KeyType, TextKey, UUIDKey
from pcf.database.query_log import declared_reads
from pcf.execution.dependencies import WHOLE, Dependencies
from pcf.execution.loaders import Loaders
from pcf.viewer import ANONYMOUS, Viewer

_ID_TYPES: dict[type, type[KeyType]] = {int: IntegerKey, str: TextKey, UUID: UUIDKey}


class Client(NamedTuple):
    """The client that sent an operation.

    ``address`` is its network address, by which anonymous requests are rate limited. ``token`` is
    the text of its token, which came from the session cookie where ``from_cookie`` is set.
    ``same_origin`` says that no page of another origin sent the operation.
    """

    address: str = ""
    token: str | None = None
    from_cookie: bool = False
    same_origin: bool = True

    def __repr__(self) -> str:
        """Leave out what is private."""
        return f"Client(from_cookie={self.from_cookie})"


class SessionCookie(NamedTuple):
    """What a response makes of the session cookie: ``token`` for ``seconds``; 0 removes it."""

    token: str = ""
    seconds: int = 0


class RequestContext:
    """The viewer of one operation, its loaders, and the dependencies of its response.

    ``max_age`` is the longest time in seconds for which a cache may keep the response. None means
    that nothing has limited it yet, 0 that no cache may keep the response. ``session_cookie`` is
    what the response to a mutation makes of the cookie; None leaves it as it is.
    ``is_one_transaction`` says that the whole operation runs in one transaction. ``rows`` are then
    the rows that its payloads show.
    """

    __slots__ = (
        "_client", "dependencies", "is_one_transaction", "loaders", "max_age", "rows",
        "session_cookie", "viewer",
    )  # fmt: skip

    def __init__(self, viewer: Viewer = ANONYMOUS, client: Client | None = None) -> None:
        self.viewer = viewer
        self._client = client or Client()
        self.session_cookie: SessionCookie | None = None
        self.is_one_transaction = False
        self.rows: list[Model] = []
        self.dependencies = Dependencies()
        self.loaders = Loaders(viewer, self.dependencies)
        self.max_age: int | None = None
        if viewer.is_authenticated:
            # the account holds the permissions
            self.dependencies.add("account", (viewer.id,), _ID_TYPES.get(type(viewer.id)))

    @property
    def client(self) -> Client:
        """The client. A response that depends on it is not stored: another client may get it."""
        self.no_store()
        return self._client

    def note_rows(self, values: Iterable[object]) -> None:
        """Add those of ``values`` to ``rows`` that are rows, or lists of rows."""
        for value in values:
            each = value if isinstance(value, list | tuple) else (value,)
            self.rows += [row for row in each if isinstance(row, Model)]

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
