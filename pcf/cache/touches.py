"""What writes touch, declared per model and seen by PostgreSQL itself.

An app declares for each of its models which dependencies a written row touches (``declare``).
From that come triggers: whatever way a row is written (save, update, bulk_create, cascades, SQL by
hand, COPY), its transaction writes the names of what it touched into the table ``pcf_touch``, the
outbox. Savepoints and roll-backs hold for those rows as for any other.

The triggers are installed by ``migrate``. Statements of more than ``LARGE_WRITE`` rows touch whole
kinds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from django.db import models

from pcf.execution.dependencies import BLOCK_BITS, has_blocks

LARGE_WRITE = 1_000  # rows
OUTBOX = "pcf_touch"

_BEFORE, _AFTER = "before_rows", "after_rows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Touch:
    """One kind of dependency that writing a row touches.

    ``key`` is the field that holds the key, before and after the write; None stands for the list of
    all rows, as a whole and the row's block of it (``pcf.execution.dependencies``). With
    ``through``, a model with a foreign key to the written one, the key is looked up in its rows
    that point to the written row. An update counts when one of the fields ``only`` changes (all of
    them when empty), except ``ignoring``.
    """

    kind: str
    key: str | None = None
    through: type[models.Model] | None = None
    only: tuple[str, ...] = ()
    ignoring: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Declaration:
    """All touches of a model. ``holding`` names foreign keys: see ``declare``."""

    model: type[models.Model]
    touches: tuple[Touch, ...]
    holding: tuple[str, ...]

    @property
    def kinds(self) -> list[str]:
        """The kinds that writes may touch."""
        return list(dict.fromkeys(touch.kind for touch in self.touches))


_declarations: dict[type[models.Model], Declaration] = {}


def declare(model: type[models.Model], *touches: Touch, holding: tuple[str, ...] = ()) -> None:
    """Declare what writes to ``model`` touch; called from the app's ``ready``.

    ``holding``: foreign keys whose rows a new row locks (FOR SHARE) until its transaction ends.
    Needed where a ``through`` looks the new row up: a write to the row it points to then either
    sees the new row, or is waited for. Transactions must be READ COMMITTED.
    """
    _declarations[model] = Declaration(model, touches, holding)


def declarations() -> Iterator[Declaration]:
    """What all apps have declared, in a fixed order."""
    yield from sorted(_declarations.values(), key=lambda it: it.model._meta.label)  # noqa: SLF001


def declaration_of(name: str) -> Declaration:
    """The declaration of the model called ``name``. Raises LookupError, with what there is."""
    known = {it.model.__name__: it for it in declarations()}
    if name not in known:
        raise LookupError(f"There is no type {name}; there are {', '.join(sorted(known))}")
    return known[name]


# --- SQL


@dataclass(frozen=True, slots=True)
class Trigger:
    """The triggers of one table: the function they call, and the SQL that installs it all."""

    app: str
    table: str
    function: str
    sql: str

    @property
    def fingerprint(self) -> str:
        """The comment of the function, which tells whether it is up to date."""
        return f"pcf {sha256(self.sql.encode()).hexdigest()[:32]}"


def triggers() -> Iterator[Trigger]:
    """The triggers of everything that is declared."""
    for declaration in declarations():
        meta = declaration.model._meta  # noqa: SLF001
        yield Trigger(
            meta.app_label, meta.db_table, _function_name(declaration), _install(declaration)
        )


def fingerprint() -> bytes:
    """What is declared, in short: a response made under other declarations may depend on less than
    a write needs to remove it.
    """
    return sha256("".join(trigger.fingerprint for trigger in triggers()).encode()).digest()


def row_sql(declaration: Declaration) -> str:
    """SQL for the names that the stored row with the key ``%s`` touches."""
    table, pk = _table(declaration.model), _column(declaration.model, "pk")
    return (
        f"SELECT DISTINCT touched.name FROM {table} a, "  # noqa: S608 (identifiers of models)
        f"LATERAL unnest({_names(declaration, ('a',))}) AS touched (name) "
        f"WHERE touched.name IS NOT NULL AND a.{pk} = %s"
    )


def _function_name(declaration: Declaration) -> str:
    return f"pcf_touch_{declaration.model._meta.db_table}"  # noqa: SLF001


def _install(declaration: Declaration) -> str:
    table, function = _table(declaration.model), _quote(_function_name(declaration))
    whole = ", ".join(f"'{kind}!'" for kind in declaration.kinds)
    created = "".join(
        f"CREATE OR REPLACE TRIGGER pcf_touch_{name} AFTER {name.upper()} ON {table} "
        f"{referencing}FOR EACH STATEMENT EXECUTE FUNCTION {function}();\n"
        for name, referencing in (
            ("insert", f"REFERENCING NEW TABLE AS {_AFTER} "),
            ("update", f"REFERENCING OLD TABLE AS {_BEFORE} NEW TABLE AS {_AFTER} "),
            ("delete", f"REFERENCING OLD TABLE AS {_BEFORE} "),
            ("truncate", ""),
        )
    )
    return f"""CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $body$
DECLARE
    touched text[];
BEGIN
    IF TG_OP = 'INSERT' THEN
{_branch(declaration, ("a",))}
    ELSIF TG_OP = 'UPDATE' THEN
{_branch(declaration, ("b", "a"))}
    ELSIF TG_OP = 'DELETE' THEN
{_branch(declaration, ("b",))}
    ELSE
        touched := ARRAY[{whole}];
    END IF;
    IF touched IS NOT NULL THEN
        INSERT INTO {OUTBOX} (names) VALUES (touched);
    END IF;
    RETURN NULL;
END $body$;
{created}"""  # noqa: S608 (identifiers of models)


def _branch(declaration: Declaration, sides: tuple[str, ...]) -> str:
    """What the function does for one operation: ``b`` is the row before, ``a`` the one after."""
    pk = _column(declaration.model, "pk")
    rows = {
        ("a",): f"{_AFTER} a",
        ("b",): f"{_BEFORE} b",
        ("b", "a"): f"{_BEFORE} b FULL JOIN {_AFTER} a ON a.{pk} = b.{pk}",
    }[sides]
    conditions = dict.fromkeys(_condition(declaration.model, it) for it in declaration.touches)
    changed = f" WHERE {' OR '.join(conditions)}" if len(sides) > 1 else ""
    whole = ", ".join(f"'{kind}!'" for kind in declaration.kinds)
    hold = _hold(declaration) if "a" in sides else ""
    return f"""{hold}        IF (SELECT count(*) FROM (
            SELECT FROM {rows}{changed} LIMIT {LARGE_WRITE + 1}
        ) few) > {LARGE_WRITE} THEN
            touched := ARRAY[{whole}];
        ELSE
            SELECT array_agg(DISTINCT touches.name) INTO touched FROM {rows},
                LATERAL unnest({_names(declaration, sides)}) AS touches (name)
                WHERE touches.name IS NOT NULL;
        END IF;"""  # noqa: S608 (identifiers of models)


def _hold(declaration: Declaration) -> str:
    statements = ""
    for name in declaration.holding:
        field: Any = declaration.model._meta.get_field(name)  # noqa: SLF001
        other = field.related_model
        pk = _column(other, "pk")
        statements += (
            f"        PERFORM FROM {_table(other)} held WHERE held.{pk} IN "  # noqa: S608
            f"(SELECT a.{_quote(field.column)} FROM {_AFTER} a) ORDER BY held.{pk} FOR SHARE;\n"
        )
    return statements


def _names(declaration: Declaration, sides: tuple[str, ...]) -> str:
    """An array of the names that one row touches; NULL where it touches none."""
    single: list[str] = []
    looked_up: list[str] = []
    for touch in declaration.touches:
        condition = None
        if len(sides) > 1:
            condition = _condition(declaration.model, touch)
        if touch.through is not None:
            names = _look_up(declaration.model, touch, sides)
            looked_up.append(
                f"CASE WHEN {condition} THEN {names} ELSE '{{}}' END" if condition else names
            )
            continue
        if touch.key is None:
            keys = _list_names(declaration.model, touch.kind, sides)
        else:
            field = _field(declaration.model, touch.key)
            keys = [_name(touch.kind, field, side) for side in sides]
        single += [f"CASE WHEN {condition} THEN {key} END" if condition else key for key in keys]
    return " || ".join([f"ARRAY[{', '.join(single)}]", *looked_up])


def _list_names(model: type[models.Model], kind: str, sides: tuple[str, ...]) -> list[str]:
    pk = _column(model, "pk")
    blocks = [f"'{kind}:' || ({side}.{pk} >> {BLOCK_BITS})" for side in sides]
    return [f"'{kind}:'", *(blocks if has_blocks(model) else ())]


def _look_up(model: type[models.Model], touch: Touch, sides: tuple[str, ...]) -> str:
    through: Any = touch.through
    link = next(
        field
        for field in through._meta.fields  # noqa: SLF001
        if field.is_relation and field.related_model is model
    )
    pk = _column(model, "pk")
    keys = ", ".join(f"{side}.{pk}" for side in sides)
    name = _name(touch.kind, _field(through, touch.key or "pk"), "link")
    return (
        f"ARRAY(SELECT {name} FROM {_table(through)} link "  # noqa: S608 (identifiers of models)
        f"WHERE link.{_quote(link.column)} IN ({keys}))"
    )


def _name(kind: str, field: Any, side: str) -> str:
    """A dependency's name as ``pcf.cache.names`` spells it: texts are hashed."""
    column = f"{side}.{_quote(field.column)}"
    if isinstance(field, models.CharField | models.TextField):
        column = f"left(encode(sha256(convert_to({column}, 'UTF8')), 'hex'), 32)"
    return f"'{kind}:' || {column}"


def _condition(model: type[models.Model], touch: Touch) -> str:
    """Whether the row changed in a way that matters; a row that came or went did."""
    names = touch.only or [field.name for field in model._meta.concrete_fields]  # noqa: SLF001
    columns = [_quote(_field(model, it).column) for it in names if it not in touch.ignoring]
    before, after = (", ".join(f"{side}.{it}" for it in columns) for side in "ba")
    pk = _column(model, "pk")
    came_or_went = f"a.{pk} IS NULL OR b.{pk} IS NULL"
    return f"({came_or_went} OR ROW({before}) IS DISTINCT FROM ROW({after}))"


def _field(model: type[models.Model], name: str) -> Any:
    meta = model._meta  # noqa: SLF001
    return meta.pk if name == "pk" else meta.get_field(name)


def _column(model: type[models.Model], name: str) -> str:
    return _quote(_field(model, name).column)


def _table(model: type[models.Model]) -> str:
    return _quote(model._meta.db_table)  # noqa: SLF001


def _quote(name: str) -> str:
    return f'"{name}"'
