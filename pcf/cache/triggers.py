"""Invalidation triggers: PostgreSQL notes which dependencies a write touches.

An app declares for each of its models which dependencies a written row touches (``declare``). The
engine makes triggers of the declarations, and ``migrate`` installs them. So every write counts:
save, update, bulk_create, cascades, SQL by hand, COPY. The transaction writes the names that it
touches into the table ``pcf_touch``, the outbox. Savepoints and roll-backs hold for these rows as
for all others.

A statement that writes more than ``LARGE_WRITE`` rows touches whole kinds.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from django.db import models

from pcf.database.key_types import KeyType, ListKey, UnspelledKey, field_of, key_type_of

LARGE_WRITE = 1_000  # rows
OUTBOX = "pcf_touch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Touch:
    """One kind of dependency that a write to a row touches.

    Attributes:
        kind: The kind, a text. So a model can touch a kind of an app that it does not import.
        key: The field that holds the key. Its values before and after the write both count. None
            stands for the list of all rows; then the write touches two keys: that of the whole
            list, and that of the block with the row (``pcf.execution.dependencies``).
        through: A model with a foreign key to the written one. The trigger then looks the key up in
            the rows of ``through`` that point to the written row.
        link: The name of that foreign key, where ``through`` has several.
        via: A foreign key of the written model. The trigger then looks the key up in the row that
            it points to. The declaration has to hold that row (``holding``).
        only: The fields whose change counts; every field when empty.
        ignoring: The fields whose change does not count.
        updates_only: Whether a row that comes or goes does not count.
    """

    kind: str
    key: str | None = None
    through: type[models.Model] | None = None
    link: str | None = None
    via: str | None = None
    only: tuple[str, ...] = ()
    ignoring: tuple[str, ...] = ()
    updates_only: bool = False


def list_touches(kind: str, *columns: str, **where: Any) -> list[Touch]:
    """Return the touches for columns by which lists are filtered and sorted.

    A connection that reads ``title`` in the lists of ``kind`` depends on ``{kind}.title``.
    ``where`` holds the attributes ``key``, ``through`` and ``link`` of the touch with the kind
    itself. A row that comes or goes touches ``kind``, so a change of the column alone counts here.
    """
    return [
        Touch(kind=f"{kind}.{column}", only=(column,), updates_only=True, **where)
        for column in columns
    ]


@dataclass(frozen=True, slots=True)
class Declaration:
    """All touches of a model; for ``holding`` see ``declare``."""

    model: type[models.Model]
    touches: tuple[Touch, ...]
    holding: tuple[str, ...]

    @property
    def kinds(self) -> list[str]:
        """The kinds that a write may touch."""
        return list(dict.fromkeys(touch.kind for touch in self.touches))


_declarations: dict[type[models.Model], Declaration] = {}
_own_kinds: set[str] = set()  # that the application touches itself


def declare(model: type[models.Model], *touches: Touch, holding: tuple[str, ...] = ()) -> None:
    """Declare what writes to ``model`` touch. An app calls it in its module ``touches``.

    Declarations of one model add up. So an app can declare what writes to the model of another app
    touch.

    ``holding`` names foreign keys. A new row locks the rows that they point to (FOR SHARE) until
    its transaction ends. A model that serves as ``through`` needs it: a write to the other row then
    sees the new row, or the new row waits for the write. Transactions must be READ COMMITTED.

    A proxy stands for its model, because both have one table.
    """
    global _key_types  # noqa: PLW0603 - declarations are those of the process
    _key_types = None
    model = concrete_model(model)
    known = _declarations.get(model, Declaration(model, (), ()))
    _declarations[model] = Declaration(
        model,
        # sorted: the order of the apps must not change the triggers
        tuple(sorted({*known.touches, *map(_of_tables, touches)}, key=_order)),
        tuple(sorted({*known.holding, *holding})),
    )


def declare_kinds(*kinds: str) -> None:
    """Declare kinds that the application touches itself (``pcf.cache.invalidation.touch``).

    Responses that depend on other kinds are not stored, because no write removes them.
    """
    _own_kinds.update(kinds)


def _of_tables(touch: Touch) -> Touch:
    """Return ``touch`` with the model of the table in place of a proxy."""
    return touch if touch.through is None else replace(touch, through=concrete_model(touch.through))


def _order(touch: Touch) -> tuple[Any, ...]:
    through = touch.through._meta.label if touch.through else ""  # noqa: SLF001
    looked_up = touch.key or "", through, touch.link or "", touch.via or ""
    return touch.kind, looked_up, touch.only, touch.ignoring, touch.updates_only


def declarations() -> Iterator[Declaration]:
    """Yield the declarations of all apps in a fixed order."""
    yield from sorted(
        _declarations.values(),
        key=lambda declaration: declaration.model._meta.label,  # noqa: SLF001
    )


def declared_kinds() -> frozenset[str]:
    """Return the kinds that the declarations of all apps touch, and those of ``declare_kinds``."""
    kinds = {kind for declaration in declarations() for kind in declaration.kinds}
    return frozenset(kinds | _own_kinds)


def declaration_of(name: str) -> Declaration:
    """Return the declaration of the model called ``name``.

    Raises LookupError with the names that there are.
    """
    known = {declaration.model.__name__: declaration for declaration in declarations()}
    if name not in known:
        raise LookupError(f"There is no type {name}; there are {', '.join(sorted(known))}")
    return known[name]


def row_kinds(model: type[models.Model]) -> list[str]:
    """Return the kinds that a write to a row touches by the primary key of the row."""
    model = concrete_model(model)
    touches = _declarations[model].touches if model in _declarations else ()
    keys = {"pk", model._meta.pk.name}  # noqa: SLF001 - Django's documented API
    return [
        touch.kind
        for touch in touches
        if touch.key in keys and touch.through is None and touch.via is None
    ]


def concrete_model(model: type[models.Model]) -> type[models.Model]:
    """Return the model whose table a proxy shares; other models themselves."""
    concrete: type[models.Model] = model._meta.concrete_model or model  # noqa: SLF001
    return concrete


def links_of(touch: Touch, model: type[models.Model]) -> list[Any]:
    """Return the foreign keys of ``touch.through`` to ``model``; only ``touch.link``, if given."""
    through: Any = touch.through
    return [
        field
        for field in through._meta.local_concrete_fields  # noqa: SLF001
        if field.is_relation
        and concrete_model(field.related_model) is model
        and touch.link in {None, field.name}
    ]


def key_model(touch: Touch, model: type[models.Model]) -> type[models.Model]:
    """Return the model that has the field ``touch.key``, for a touch of ``model``.

    Raises FieldDoesNotExist for a foreign key that ``model`` lacks.
    """
    if touch.via is not None:
        target: Any = model._meta.get_field(touch.via).related_model  # noqa: SLF001
        return concrete_model(target)
    return touch.through or model


# --- the keys of kinds

# the declarations that the types were made of, and the types
_key_types: "tuple[dict[type[models.Model], Declaration], dict[str, KeyType]] | None" = None


def key_type_of_kind(kind: str) -> KeyType | None:
    """Return how the keys of ``kind`` are spelled, by the fields that its touches name.

    Returns None for a kind that no Touch declares.
    """
    global _key_types  # noqa: PLW0603 - declarations are those of the process
    known = _key_types
    if known is None or known[0] is not _declarations:
        types = {kind: _common_type(fields) for kind, fields in key_fields().items()}
        known = _key_types = _declarations, types
    return known[1].get(kind)


def key_fields() -> dict[str, list[Any]]:
    """Return the fields that hold the keys of each kind, None for the key of a list.

    The result lacks the fields that do not exist: ``manage.py check`` names them.
    """
    fields: dict[str, list[Any]] = {}
    for declaration in declarations():
        for touch in declaration.touches:
            field = None
            if touch.key is not None:
                field = field_of(key_model(touch, declaration.model), touch.key)
                if field is None:
                    continue
            fields.setdefault(touch.kind, []).append(field)
    return fields


def _common_type(fields: list[Any]) -> KeyType:
    """Return the type that the keys in all ``fields`` have; their spelling has to be the same."""
    types = [
        ListKey() if field is None else key_type_of(field) or UnspelledKey() for field in fields
    ]
    return types[0] if len(set(map(type, types))) == 1 else UnspelledKey()
