"""Cursors: the place of a row in an order, as opaque text.

A cursor holds the values by which its list is sorted, and the order itself. It stays valid when its
row changes or goes. A cursor proves nothing and grants nothing: it only says where a page begins.
So it needs no signature; ``parse_cursor`` checks all of it.
"""

import binascii
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.duration import duration_string
from django.utils.timezone import is_naive

from pcf.database.key_types import TextKey, key_type_of
from pcf.errors import InvalidArgument
from pcf.pagination.orders import Terms

MAX_CURSOR = 16_000  # characters: three texts as long as an index of PostgreSQL holds them


def order_text(terms: Terms, search: str | None) -> str:
    """Return the text that stands for an order in its cursors.

    ``search`` is the search of an order that needs one: its values mean nothing for another.
    """
    text = ",".join(f"{'-' if term.descending else ''}{term.name}" for term in terms)
    if search is None:
        return text
    return f"{text}/{sha256(search.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def make_cursor(order: str, values: Sequence[Any]) -> str:
    """Return the cursor of a row with ``values`` in the order ``order``."""
    text = json.dumps([order, *values], default=_plain, separators=(",", ":"), ensure_ascii=False)
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it."""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return duration_string(value)
    if isinstance(value, UUID | Decimal):
        return str(value)
    raise TypeError(f"a cursor cannot hold a value of the type {type(value).__name__}")


def parse_cursor(argument: str, cursor: str, order: str, fields: Sequence[Any]) -> tuple[Any, ...]:
    """Return the values in ``cursor``, of the model fields ``fields``.

    ``argument`` is the name of the argument for messages. Raises InvalidArgument for a text that is
    no cursor, and for a cursor of another order.
    """
    wrong = InvalidArgument(f"'{argument}' must be a cursor of this list")
    if len(cursor) > MAX_CURSOR:
        raise wrong
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        found = json.loads(urlsafe_b64decode(padded))
    except (ValueError, binascii.Error, RecursionError):
        raise wrong from None
    if not isinstance(found, list) or not found or not isinstance(found[0], str):
        raise wrong
    if found[0] != order:
        raise InvalidArgument(
            f"'{argument}' is a cursor of another order: {found[0][:100]!r}, not {order!r}"
        )
    if len(found) != len(fields) + 1:
        raise wrong
    return tuple(
        _converted(value, field, wrong) for value, field in zip(found[1:], fields, strict=True)
    )


def _converted(value: Any, field: Any, wrong: InvalidArgument) -> Any:
    if type(value) not in (str, int, float, bool):
        raise wrong
    try:
        converted = field.to_python(value)
    except (ValidationError, ValueError, TypeError, ArithmeticError):
        raise wrong from None
    if isinstance(converted, datetime) and is_naive(converted) and settings.USE_TZ:
        raise wrong
    key_type = TextKey(field) if isinstance(converted, str) else key_type_of(field)
    if key_type is not None:  # the range of the column, and what PostgreSQL can hold
        converted = key_type.parse(value)
    if converted is None:
        raise wrong
    return converted
