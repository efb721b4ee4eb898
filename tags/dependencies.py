"""What writes to tags touch."""

from pcf.cache.touches import Touch, declare
from tags.models import Tag


def register_all() -> None:
    """Called when the app is ready.

    A tag: itself, its name (which may now mean it, or no longer), and when it comes or goes the
    list of tags, which depends on each tag that it shows as well.
    """
    declare(
        Tag,
        Touch(kind="tag", key="id"),
        Touch(kind="tag-name", key="name"),
        Touch(kind="tags", only=("id",)),
    )
