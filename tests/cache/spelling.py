"""How dependencies are spelled."""

from hashlib import sha256

from pcf.execution.dependencies import BLOCK_BITS


def name_of(text):
    """A tag's name."""
    return f"tag-name:{sha256(text.encode()).hexdigest()[:32]}"


def list_of(kind, instance):
    """The list of all rows that an instance is in: as a whole, and its block."""
    return {f"{kind}:", f"{kind}:{instance.pk >> BLOCK_BITS}"}
