"""Texts of clients that PostgreSQL cannot hold."""


def is_storable(text: str) -> bool:
    """Whether PostgreSQL can hold ``text``: no NUL, and nothing that UTF-8 cannot encode."""
    if "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True
