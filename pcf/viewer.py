"""Who is asking."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Viewer:
    """The authenticated user of a request, or nobody.

    ``id`` is the user's primary key, None for an anonymous viewer. ``is_staff`` is the flag that
    policies ask for. A viewer is a value: it holds no connection and runs no query.
    """

    id: int | None = None
    is_staff: bool = False

    @property
    def is_authenticated(self) -> bool:
        """Whether a valid token came with the request."""
        return self.id is not None


ANONYMOUS = Viewer()
