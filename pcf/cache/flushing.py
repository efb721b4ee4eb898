"""Removing responses by hand: all, one viewer's, those that depend on a type or on one row.

For writes that Django did not see, and by caution.
"""

from pcf.cache.gate import gate
from pcf.cache.invalidation import flush_type
from pcf.cache.responses import SHARED_NAME
from pcf.execution.dependencies import Dependencies
from pcf.viewer import ANONYMOUS

EVERYTHING = "everything"
NAMES = (ANONYMOUS.name, SHARED_NAME)  # of viewers without an id


def flush(*, viewer: str | None = None, type_: str | None = None, key: int | None = None) -> int:
    """Remove the responses of ``viewer`` (a user's id or one of NAMES), those that depend on the
    model called ``type_`` or on its row ``key``, or without any of these everything.

    Returns how many entries went. Raises LookupError for what is not known, CacheUnavailable.
    """
    if viewer is not None:
        if viewer not in NAMES and not viewer.isdecimal():
            raise LookupError(f"A viewer is a user's id, {' or '.join(NAMES)}")
        dependencies = Dependencies()
        dependencies.add("viewer", (viewer if viewer in NAMES else int(viewer),))
        return gate().invalidate(dependencies)
    return gate().flush() if type_ is None else flush_type(type_, key)


def described(
    *, viewer: str | None = None, type_: str | None = None, key: int | None = None
) -> str:
    """In words, what ``flush`` with these arguments removes."""
    if viewer is not None:
        return f"viewer {viewer}"
    if type_ is None:
        return EVERYTHING
    return f"type {type_}" + ("" if key is None else f" {key}")
