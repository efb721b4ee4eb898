"""The names of tags: NFC, trimmed, without control characters and without bidi characters.

A bidi character changes the direction of the text around it, so a page shows another name than the
one that is stored. Unicode calls the set ``Bidi_Control``.
"""

import unicodedata
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import BooleanField, Func

MAX_NAME = 50  # characters

_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# control characters, separators of lines and paragraphs, halves of characters
_REFUSED = frozenset({"Cc", "Zl", "Zp", "Cs"})


def normalized(name: str) -> str:
    """Return ``name`` as it is stored: in NFC, without white space at both ends."""
    return unicodedata.normalize("NFC", name).strip()


def validate_name(name: str) -> None:
    """Raise ValidationError for a name with a character that no name has."""
    if any(each in _BIDI or unicodedata.category(each) in _REFUSED for each in name):
        raise ValidationError(
            "The name has a character that is not visible, or that changes the direction of text.",
            code="invalid",
        )


class IsNormal(Func):
    """Whether a name is in NFC, trimmed, and without the characters that no name has.

    The rule is that of ``normalized`` and ``validate_name`` in SQL. White space is what Python's
    ``str.strip`` removes.
    """

    output_field: Any = BooleanField()
    template = (
        r"(%(expressions)s IS NFC NORMALIZED AND %(expressions)s !~ "
        r"'[\u0001-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
        r"|^[ \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]"
        r"|[ \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]$')"
    )

    def as_sql(self, *args: Any, **kwargs: Any) -> Any:
        """Return the SQL, which has the expression twice, so its parameters stand twice."""
        sql, params = super().as_sql(*args, **kwargs)
        return sql, [*params, *params]
