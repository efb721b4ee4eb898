"""Names of dependencies as the engine writes them."""

from hashlib import sha256

from pcf.execution.dependencies import BLOCK_BITS


def name_of(text):
    """Return the dependency on a name of a tag."""
    return f"tag-name:{sha256(text.encode()).hexdigest()[:32]}"


def list_of(kind, instance):
    """Return the dependencies on the list of all rows: as a whole, and the block of a row."""
    return {f"{kind}:", f"{kind}:{instance.pk >> BLOCK_BITS}"}


def everything(delivered):
    """Return all names that the commits of the fixture ``delivered`` have blocked."""
    return set().union(*delivered)
