"""Loaders of tags."""

from collections.abc import Sequence

from pcf.execution.loaders import Loader
from tags.models import Tag


class TagById(Loader):
    """Tags by primary key."""

    dependency = "tag"

    def load_batch(self, keys: Sequence[int]) -> dict[int, Tag]:
        """All of ``keys`` that exist."""
        return Tag.objects.in_bulk(keys)


class TagByName(Loader):
    """Tags by their unique name."""

    dependency = "tag-name"

    def load_batch(self, keys: Sequence[str]) -> dict[str, Tag]:
        """All of ``keys`` that exist."""
        return Tag.objects.in_bulk(keys, field_name="name")
