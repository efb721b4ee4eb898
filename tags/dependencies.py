"""What writes to tags touch."""

from collections.abc import Sequence

from pcf.cache.invalidation import register
from pcf.execution.dependencies import Dependencies
from tags.models import Tag


def tags_touched(tags: Sequence[Tag], deleting: bool) -> Dependencies:
    """A tag: itself, its name (which may now mean it, or no longer), and the list of tags."""
    del deleting
    touched = Dependencies()
    if tags:
        touched.add("tag", [tag.pk for tag in tags])
        touched.add("tag-name", [tag.name for tag in tags])
        touched.add_list("tags")
    return touched


def register_all() -> None:
    """Called when the app is ready."""
    register(Tag, ("tag", "tag-name", "tags"), tags_touched)
