"""Loaders of users."""

from collections.abc import Mapping, Sequence
from typing import Any

from pcf.execution.loaders import Loader
from pcf.execution.rows import find
from users.models import User


class UserById(Loader):
    """Users by primary key."""

    dependency = "user"
    model = User

    def load_batch(self, keys: Sequence[int]) -> Mapping[int, Any]:
        """All of ``keys`` that exist."""
        return find(User.objects.all(), keys, self.columns)
