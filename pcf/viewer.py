"""Who is asking, and how far their token reaches."""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache


class Scope(StrEnum):
    """How much of a user's rights a token passes on; each includes those before it."""

    READ = "read"  # queries
    WRITE = "write"  # mutations, too
    ADMIN = "admin"  # the powers of a member of staff, too

    def covers(self, needed: "Scope") -> bool:
        """Whether this scope is ``needed`` or includes it."""
        return _RANKS[self] >= _RANKS[needed]


_RANKS = {scope: rank for rank, scope in enumerate(Scope)}


@dataclass(frozen=True, slots=True)
class Viewer:
    """The authenticated user of a request, or nobody.

    ``id`` is the user's primary key, None for an anonymous viewer. ``scope`` is that of the token;
    a viewer whom no token limits (in the admin, say) has all of them. ``is_staff`` is the flag that
    policies ask for: the user is a member of staff and the scope passes it on. A viewer is a
    value: it holds no connection and runs no query.

    Raises ValueError for staff with another scope than ADMIN, so that no policy has to think of it.
    """

    id: int | None = None
    is_staff: bool = False
    scope: Scope = Scope.ADMIN

    def __post_init__(self) -> None:
        if self.is_staff and self.scope is not Scope.ADMIN:
            raise ValueError(f"the powers of staff need the scope admin, not {self.scope}")

    @classmethod
    def of_token(cls, user_id: int, scope: Scope, *, staff: bool) -> "Viewer":
        """The viewer behind a token of this scope; ``staff`` is whether its user is one of them."""
        return cls(user_id, staff and scope is Scope.ADMIN, scope)

    @property
    def is_authenticated(self) -> bool:
        """Whether a valid token came with the request."""
        return self.id is not None

    @property
    def kind(self) -> tuple[bool, bool, Scope]:
        """All that a policy could tell viewers apart by, except who they are."""
        return self.id is not None, self.is_staff, self.scope

    @property
    def name(self) -> str:
        """All of the viewer as one word, for keys of caches.

        Two viewers whom a policy could tell apart have different names.
        """
        if self.id is None:
            return "anonymous"
        return f"{self.id}.{self.scope}.staff" if self.is_staff else f"{self.id}.{self.scope}"

    @staticmethod
    @lru_cache(maxsize=4_096)
    def of_name(name: str) -> "Viewer":
        """The authenticated viewer with this ``name``. Raises ValueError when there is none."""
        user_id, scope, *staff = name.split(".")
        return Viewer(int(user_id), staff == ["staff"], Scope(scope))


ANONYMOUS = Viewer()
