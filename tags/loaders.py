"""Loaders of tags."""

from collections.abc import Mapping, Sequence
from typing import Any

from pcf.execution.loaders import Loader
from pcf.execution.rows import find
from tags.models import Tag


class TagById(Loader):
    """Tags by primary key."""

    dependency = "tag"
    model = Tag

    def load_batch(self, keys: Sequence[int]) -> Mapping[int, Any]:
        """All of ``keys`` that exist."""
        return find(Tag.objects.all(), keys, self.columns)


class TagByName(Loader):
    """Tags by their unique name."""

    dependency = "tag-name"

    def load_batch(self, keys: Sequence[str]) -> dict[str, Tag]:
        """All of ``keys`` that exist."""
        return Tag.objects.in_bulk(keys, field_name="name")
