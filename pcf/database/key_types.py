"""Key types: one spelling of a key for Python and for PostgreSQL.

A key is the value of a field: loaders look rows up by it, and it stands in the names of
dependencies. Python names the keys that an operation has read, the invalidation triggers name the
keys that a write touches. ``str(True)`` is ``True`` and ``true::text`` is ``true``; the text of a
timestamp depends on the session. So neither ``str`` nor a cast to ``text`` makes the names. The
type of the key does, on both sides.

A foreign key has the type of its target field, a generated field that of its output field. A field
has no key type when PostgreSQL and Python may disagree about equal values: arrays, JSON, floating
point numbers, columns with a collation of their own, and fields that convert their values.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from hashlib import sha256
from typing import Any, ClassVar, TypeVar, cast
from uuid import UUID

from django.conf import settings
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured, ValidationError
from django.db import connections
from django.db.models import Model
from django.utils.timezone import get_default_timezone, is_naive, make_aware

T = TypeVar("T")

# All of them compare bytes. Other names may be collations for which different texts are equal.
_COLLATIONS = re.compile(r"C|POSIX|ucs_basic|[\w-]+-x-icu|[a-z]{2,3}_[A-Z]{2}(\.[\w-]+)?")

# of a decimal number of PostgreSQL without a declared size: behind the point, and in front of it
_DECIMAL_PLACES, _DECIMAL_DIGITS = 16_383, 131_072

_CONVERSIONS = (
    "db_type", "get_db_prep_save", "get_db_prep_value", "get_prep_value", "rel_db_type",
    "to_python",
)  # fmt: skip


class KeyType:
    """The keys of one field. ``name`` says how they are spelled; immutable and thread-safe.

    ``python_type`` is the class whose instances are keys as they are. None means that ``parse`` has
    to see every value.
    """

    name: ClassVar[str]
    python_type: ClassVar[type | None] = None

    def __init__(self, field: Any) -> None:
        self._field = field

    def parse(self, value: Any) -> Any:
        """Return the key that ``value`` stands for; None when no row can have such a key.

        ``value`` may be a key, or the text of a key that a client has sent.
        """
        try:
            return self.convert(value)
        except (ValidationError, ValueError, TypeError, ArithmeticError):
            return None

    def convert(self, value: Any) -> Any:
        """Return the key as ``parse`` does, or raise the error of the conversion."""
        return self._field.to_python(value)

    def spell(self, key: Any) -> str:
        """Return the spelling of a parsed key."""
        return str(key)

    def spell_all(self, values: Collection[Any]) -> list[str]:
        """Return the spellings of ``values``. What no row can have as its key is hashed."""
        keys = zip(values, map(self.parse, values), strict=True)
        return [text_digest(str(value)) if key is None else self.spell(key) for value, key in keys]

    def spell_sql(self, column: str) -> str:
        """Return SQL for the spelling of the key in ``column``: the same text, or NULL."""
        return f"{column}::text"

    def parse_all(self, values: Sequence[Any]) -> Sequence[Any]:
        """Return the distinct keys that ``values``, which are distinct, stand for."""
        return values if self._have_type(values) else self._parse_each(values)

    def array_of(self, keys: Sequence[Any]) -> Any:
        """Return parsed ``keys`` as the value of an array parameter."""
        return list(keys)

    def _parse_each(self, values: Iterable[Any]) -> list[Any]:
        parsed = dict.fromkeys(map(self.parse, values))
        parsed.pop(None, None)
        return list(parsed)

    def as_asked(self, values: Sequence[Any], found: Mapping[Any, T]) -> Mapping[Any, T]:
        """Return what was found for each key, by the values that stand for the keys."""
        if self._have_type(values):
            return found
        # a time that a zone has twice is not equal to the same time in another zone
        by_key = {self.parse(key): value for key, value in found.items()}
        keys = ((value, self.parse(value)) for value in values)
        return {value: by_key[key] for value, key in keys if key in by_key}

    def _have_type(self, values: Iterable[Any]) -> bool:
        types: set[type | None] = set(map(type, values))
        return types == {self.python_type}


class ListKey(KeyType):
    """The keys of a list: the empty text for the whole list, and the numbers of its blocks."""

    name = "list"

    def __init__(self) -> None:
        super().__init__(None)

    def spell_all(self, values: Collection[Any]) -> list[str]:
        """Return the numbers as they are. Any other text, which a client may choose, is hashed."""
        return [text_digest(key) if isinstance(key, str) and key else str(key) for key in values]


class UnspelledKey(KeyType):
    """Keys without a spelling: a dependency on one of them is a dependency on the whole kind."""

    name = "none"

    def __init__(self) -> None:
        super().__init__(None)


class IntegerKey(KeyType):
    """Integers within the range of the column."""

    name = "integer"
    python_type = int

    def __init__(self, field: Any) -> None:
        super().__init__(field)
        bits = {"smallint": 15, "bigint": 63}.get(array_type(field, "default"), 31)
        self._least, self._most = -(1 << bits), (1 << bits) - 1

    def convert(self, value: Any) -> int | None:
        """Return the integer; None when the column cannot hold it."""
        number = int(value)
        is_same = isinstance(value, str) or number == value
        return number if is_same and self._least <= number <= self._most else None

    def spell_all(self, values: Collection[Any]) -> list[str]:
        """Return the spellings, of integers at once."""
        return list(map(str, values)) if self._have_type(values) else super().spell_all(values)

    def parse_all(self, values: Sequence[Any]) -> Sequence[Any]:
        """Return the distinct keys as they are when all are integers in the range."""
        are_integers = set(map(type, values)) == {int}
        if are_integers and self._least <= min(values) and max(values) <= self._most:
            return values
        return self._parse_each(values)

    def array_of(self, keys: Sequence[Any]) -> str:
        """Return the text of a PostgreSQL array."""
        return _integer_array(keys)


class TextKey(KeyType):
    """Texts. Clients choose them, so the spelling is a digest of 128 bits."""

    name = "text"

    def convert(self, value: Any) -> str | None:
        """Return the text; None when PostgreSQL cannot hold it."""
        text = str.__str__(value) if isinstance(value, str) else str(value)
        text.encode()  # a lone surrogate raises UnicodeEncodeError, a ValueError
        return None if value is None or "\0" in text else text

    def spell(self, key: str) -> str:
        """Return the digest."""
        return text_digest(key)

    def spell_sql(self, column: str) -> str:
        """Return SQL for the digest."""
        digest = f"sha256(convert_to({column}, 'UTF8'))"
        return f"left(encode({digest}, 'hex'), 32)"


class UUIDKey(KeyType):
    """UUIDs."""

    name = "uuid"
    python_type = UUID


class BooleanKey(KeyType):
    """True and False."""

    name = "boolean"
    python_type = bool

    def convert(self, value: Any) -> bool | None:
        """Return the value; texts may be those of JSON, too."""
        found: bool | None = {"true": True, "false": False}.get(value)
        return super().convert(value) if found is None else found

    def spell(self, key: bool) -> str:
        """Return the key as PostgreSQL writes it."""
        return "true" if key else "false"


class DateKey(KeyType):
    """Dates. The spelling does not depend on the session's DateStyle."""

    name = "date"
    python_type = date

    def spell(self, key: date) -> str:
        """Return the date as ISO 8601 writes it."""
        return key.isoformat()

    def spell_sql(self, column: str) -> str:
        """Return SQL for the same text; Python has no infinite dates."""
        return f"to_char({column}, 'YYYY-MM-DD')"


class DateTimeKey(KeyType):
    """Points in time, spelled in UTC. A key without a zone is in the default zone, as in Django."""

    name = "datetime"

    def convert(self, value: Any) -> datetime | None:
        """Return the point in time, in UTC."""
        moment = super().convert(value)
        if moment is None:
            return None
        aware = make_aware(moment, get_default_timezone()) if is_naive(moment) else moment
        return cast("datetime", aware.astimezone(UTC))

    def spell(self, key: datetime) -> str:
        """Return the point in time with microseconds."""
        return key.replace(tzinfo=None).isoformat(timespec="microseconds")

    def spell_sql(self, column: str) -> str:
        """Return SQL for the same text; Python has no infinite points in time."""
        moment = f"timezone('UTC', {column})"
        return f"to_char({moment}, 'YYYY-MM-DD\"T\"HH24:MI:SS.US')"


class DecimalKey(KeyType):
    """Decimal numbers. 1.0 and 1.00 are the same key."""

    name = "decimal"

    def convert(self, value: Any) -> Decimal | None:
        """Return the number; None when the column cannot hold it, as NaN and infinities."""
        number = super().convert(value)
        if number is None or not number.is_finite():
            return None
        size = number.adjusted()  # the exponent of the first digit
        places, digits = self._field.decimal_places, self._field.max_digits
        if digits is None:  # of an expression
            places, digits = _DECIMAL_PLACES, _DECIMAL_DIGITS
        fits = -places <= size < digits
        return number if fits or not number else None

    def spell(self, key: Decimal) -> str:
        """Return the digits without zeros at the end of the fraction."""
        digits = f"{key:f}"
        if "." in digits:
            digits = digits.rstrip("0").rstrip(".")
        return "0" if digits == "-0" else digits

    def spell_sql(self, column: str) -> str:
        """Return SQL for the same digits."""
        return f"trim_scale({column})::text"


_TYPES: dict[str, type[KeyType]] = {
    **dict.fromkeys(
        (
            "AutoField", "BigAutoField", "SmallAutoField", "IntegerField", "BigIntegerField",
            "SmallIntegerField", "PositiveIntegerField", "PositiveBigIntegerField",
            "PositiveSmallIntegerField",
        ),
        IntegerKey,
    ),
    **dict.fromkeys(("CharField", "SlugField", "TextField"), TextKey),
    "BooleanField": BooleanKey,
    "DateField": DateKey,
    "DateTimeField": DateTimeKey,
    "DecimalField": DecimalKey,
    "UUIDField": UUIDKey,
}  # fmt: skip


def text_digest(text: str) -> str:
    """Return 128 bits that stand for ``text`` in the name of a dependency."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def target_of(field: Any) -> Any:
    """Return the field that decides the type of ``field``: a target, or an output field."""
    while True:
        if field.is_relation and field.related_model is not None:  # no generic foreign key
            field = field.target_field
        elif getattr(field, "generated", False):
            field = field.output_field
        else:
            return field


def array_of(key_type: KeyType | None, keys: Sequence[Any]) -> Any:
    """Return ``keys`` as the value of an array parameter; ``key_type`` is None for no field."""
    if key_type is not None:
        return key_type.array_of(keys)
    return _integer_array(keys) if set(map(type, keys)) <= {int} else list(keys)


def _integer_array(keys: Sequence[Any]) -> str:
    """Return the text of a PostgreSQL array of integers: psycopg takes longer to adapt a list."""
    return f"{{{','.join(map(str, keys))}}}"


@cache
def key_type_of(field: Any) -> KeyType | None:
    """Return the type of the keys in ``field``, None when it has none."""
    target = target_of(field)
    found = _TYPES.get(target.get_internal_type())
    if found is None or not _is_djangos(target):
        return None
    collation = getattr(target, "db_collation", None) or getattr(field, "db_collation", None)
    if collation and not _COLLATIONS.fullmatch(collation):
        return None
    if found is DateTimeKey and not settings.USE_TZ:  # an hour of autumn has two meanings
        return None
    return found(target)


def _is_djangos(field: Any) -> bool:
    """Return whether Django's own code alone converts the values of ``field``."""
    if hasattr(field, "from_db_value"):
        return False
    methods: Iterable[Callable[..., Any]] = (getattr(type(field), name) for name in _CONVERSIONS)
    return all(str(method.__module__).startswith("django.db.models.") for method in methods)


def field_of(model: type[Model], path: str) -> Any:
    """Return the field at the end of a path of field names, e.g. ``"bookgenre__genre_id"``.

    Returns None when the path ends at something else than a field, e.g. an annotation.
    """
    field: Any = None
    for name in path.split("__"):
        owner = model if field is None else field.related_model
        if owner is None:  # a key in a JSON document, or a transform
            return None
        meta = owner._meta  # noqa: SLF001
        try:
            field = meta.pk if name == "pk" else meta.get_field(name)
        except FieldDoesNotExist:
            return None
    return field


@cache
def key_field(model: type[Model], path: str) -> Any:
    """Return what ``field_of`` returns, from memory."""
    return field_of(model, path)


@cache
def recorded_type(model: type[Model], path: str) -> type[KeyType] | None:
    """Return the class of the type with which the keys of a field are recorded."""
    field = key_field(model, path)
    return None if field is None else type(key_type_of(field) or UnspelledKey())


@cache
def lookup_type(model: type[Model], path: str) -> KeyType | None:
    """Return the type of the keys by which a loader looks rows up; None when ``path`` is no field.

    Raises ImproperlyConfigured for a field whose keys have no type.
    """
    field = key_field(model, path)
    if field is None:
        return None
    key_type = key_type_of(field)
    if key_type is None:
        raise ImproperlyConfigured(
            f"A loader cannot look up rows of {model._meta.label} by {path!r}: "  # noqa: SLF001
            "PostgreSQL and Python may disagree about equal values"
        )
    return key_type


def array_type(field: Any, using: str) -> str:
    """Return the SQL type of the elements of an array of keys of ``field``.

    The type has no length and no precision: a cast to ``varchar(5)`` would cut longer keys.
    """
    declared: str = target_of(field).rel_db_type(connections[using])
    return re.sub(r"\([^)]*\)", "", declared)
