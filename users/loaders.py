"""Loaders of users."""

from collections.abc import Sequence

from pcf.execution.loaders import Loader
from users.models import User


class UserById(Loader):
    """Users by primary key."""

    dependency = "user"

    def load_batch(self, keys: Sequence[int]) -> dict[int, User]:
        """All of ``keys`` that exist."""
        found: dict[int, User] = User.objects.in_bulk(keys)
        return found
