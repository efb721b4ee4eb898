"""The SQL of the triggers that the declarations of ``pcf.cache.triggers`` stand for."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db import models

from pcf.cache.triggers import (
    LARGE_WRITE,
    OUTBOX,
    Declaration,
    Touch,
    declarations,
    key_model,
    links_of,
)
from pcf.database.key_types import key_type_of
from pcf.execution.dependencies import BLOCK_BITS, has_blocks

_BEFORE, _AFTER = "before_rows", "after_rows"

# A function runs with the rights of its owner, so a writer needs no right on the outbox. Its names
# are qualified, and its search_path holds the system's schema alone: neither the writer's
# search_path nor a temporary table changes what the function reads and writes.
# PostgreSQL overestimates the rows of a statement, and would compile the query for them (jit).
_PINNED = "SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off"
_MAX_NAME = 63  # bytes of a name in PostgreSQL

Qualify = Callable[[str], str]  # takes a quoted table, returns it with its schema


@dataclass(frozen=True, slots=True)
class Trigger:
    """The triggers of one table, and the function that they call."""

    declaration: Declaration

    @property
    def app(self) -> str:
        """The label of the model's app."""
        return self.declaration.model._meta.app_label  # noqa: SLF001

    @property
    def table(self) -> str:
        """The name of the model's table."""
        return self.declaration.model._meta.db_table  # noqa: SLF001

    @property
    def tables(self) -> list[str]:
        """The quoted tables that the function uses, that of the model first."""
        declaration = self.declaration
        used = [declaration.model]
        used += [key_model(touch, declaration.model) for touch in declaration.touches]
        return list(dict.fromkeys([*map(quoted_table, used), *self.held_tables]))

    @property
    def held_tables(self) -> list[str]:
        """The quoted tables in which the function locks rows."""
        declaration = self.declaration
        fields = [_field(declaration.model, name) for name in declaration.holding]
        return [quoted_table(field.related_model) for field in fields]

    @property
    def compared_columns(self) -> list[tuple[str, str]]:
        """The columns of foreign keys that the function compares, each with its quoted table."""
        model, declaration = self.declaration.model, self.declaration
        fields = [_field(model, name) for name in declaration.holding]
        for touch in declaration.touches:
            fields += links_of(touch, model) if touch.through is not None else ()
            fields += [_field(model, touch.via)] if touch.via is not None else ()
        return [(quoted_table(field.model), field.column) for field in fields]

    @property
    def function(self) -> str:
        """The name of the function, which PostgreSQL would cut behind 63 bytes."""
        plain = re.sub(r"\W+", "_", self.table)
        name = f"pcf_touch_{plain}"
        if plain == self.table and len(name.encode()) <= _MAX_NAME:
            return name
        return f"pcf_touch_{plain[:20]}_{sha256(self.table.encode()).hexdigest()[:12]}"

    @property
    def fingerprint(self) -> str:
        """A digest of the declaration."""
        return self.comment(OUTBOX, str)

    def sql(self, outbox: str, qualify: Qualify) -> str:
        """Return the SQL that installs the function and the triggers.

        The function stands beside the outbox, whose qualified name is ``outbox``.
        """
        schema = outbox.rpartition(".")[0]
        function = f"{schema}{'.' if schema else ''}{self.function}"
        return _trigger_sql(self, outbox, function, qualify)

    def comment(self, outbox: str, qualify: Qualify) -> str:
        """Return the comment of the function, which tells whether it is up to date."""
        return f"pcf {sha256(self.sql(outbox, qualify).encode()).hexdigest()[:32]}"


def triggers() -> Iterator[Trigger]:
    """Yield the triggers of all declarations."""
    yield from map(Trigger, declarations())


def fingerprint() -> bytes:
    """Return a digest of all declarations.

    A response that was made under other declarations may lack dependencies by which a write removes
    it, so the digest is part of the name of every response.
    """
    return sha256("".join(trigger.fingerprint for trigger in triggers()).encode()).digest()


def row_sql(declaration: Declaration) -> str:
    """Return SQL for the names that the stored row with the key ``%s`` touches.

    Raises LookupError for a model with a composite key.
    """
    table, pk = quoted_table(declaration.model), _pk_columns(declaration.model)
    if len(pk) > 1:
        raise LookupError(f"{declaration.model.__name__} has a composite key: name no row of it")
    return (
        f"SELECT DISTINCT touched.name FROM {table} a, "  # noqa: S608 (identifiers of models)
        f"LATERAL unnest({_touched_names(declaration, ('a',))}) AS touched (name) "
        f"WHERE touched.name IS NOT NULL AND a.{pk[0]} = %s"
    )


def _trigger_sql(trigger: Trigger, outbox: str, function: str, qualify: Qualify) -> str:
    """Return SQL for the triggers and their function, which writes the names to the outbox."""
    declaration, table = trigger.declaration, qualify(trigger.tables[0])
    created = "".join(
        f"CREATE OR REPLACE TRIGGER pcf_touch_{name} AFTER {name.upper()} ON {table} "
        f"{referencing}FOR EACH STATEMENT EXECUTE FUNCTION {function}();\n"
        # fires under session_replication_role = replica, too
        f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER pcf_touch_{name};\n"
        for name, referencing in (
            ("insert", f"REFERENCING NEW TABLE AS {_AFTER} "),
            ("update", f"REFERENCING OLD TABLE AS {_BEFORE} NEW TABLE AS {_AFTER} "),
            ("delete", f"REFERENCING OLD TABLE AS {_BEFORE} "),
            ("truncate", ""),
        )
    )
    return f"""CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql
{_PINNED} AS $body$
DECLARE
    touched text[];
BEGIN
{_lock_held_rows(declaration, qualify)}    BEGIN
    IF TG_OP = 'INSERT' THEN
{_branch(declaration, ("a",), qualify)}
    ELSIF TG_OP = 'UPDATE' THEN
{_branch(declaration, ("b", "a"), qualify)}
    ELSIF TG_OP = 'DELETE' THEN
{_branch(declaration, ("b",), qualify)}
    ELSE
        touched := {_whole(declaration)};
    END IF;
    -- A migration has changed the columns, and has not installed this function again yet.
    EXCEPTION WHEN syntax_error_or_access_rule_violation THEN
        RAISE LOG 'pcf: a write to % touches whole kinds: %', TG_TABLE_NAME, SQLERRM;
        touched := {_whole(declaration)};
    END;
    IF touched IS NOT NULL THEN
        INSERT INTO {outbox} (names) VALUES (touched);
    END IF;
    RETURN NULL;
END $body$;
REVOKE ALL ON FUNCTION {function}() FROM PUBLIC;
{created}"""  # noqa: S608 (identifiers of models)


def _whole(declaration: Declaration) -> str:
    """Return SQL for an array of the names of whole kinds."""
    return f"ARRAY[{', '.join(_literal(f'{kind}!') for kind in declaration.kinds)}]"


def _branch(declaration: Declaration, sides: tuple[str, ...], qualify: Qualify) -> str:
    """Return the branch of the function for one operation.

    In SQL, ``b`` is the row before the write and ``a`` the row after it. ``sides`` are those that
    the operation has.
    """
    rows = {
        ("a",): f"{_AFTER} a",
        ("b",): f"{_BEFORE} b",
        ("b", "a"): f"{_BEFORE} b FULL JOIN {_AFTER} a ON {_same_row(declaration.model)}",
    }[sides]
    conditions = dict.fromkeys(
        _condition(declaration.model, touch) for touch in declaration.touches
    )
    changed = f" WHERE {' OR '.join(conditions)}" if len(sides) > 1 else ""
    return f"""        IF (SELECT count(*) FROM (
            SELECT FROM {rows}{changed} LIMIT {LARGE_WRITE + 1}
        ) few) > {LARGE_WRITE} THEN
            touched := {_whole(declaration)};
        ELSE
            SELECT array_agg(DISTINCT touches.name) INTO touched FROM {rows},
                LATERAL unnest({_touched_names(declaration, sides, qualify)}) AS touches (name)
                WHERE touches.name IS NOT NULL;
        END IF;"""  # noqa: S608 (identifiers of models)


def _same_row(model: type[models.Model]) -> str:
    """Return SQL that tells whether ``a`` and ``b`` have the same primary key.

    Keys of other types than the system's are compared as text: the function does not find their
    operators.
    """
    return " AND ".join(
        f"a.{column} = b.{column}"
        if isinstance(_target(field), models.IntegerField | models.UUIDField)
        else f"a.{column}::text = b.{column}::text"
        for field, column in zip(model._meta.pk_fields, _pk_columns(model), strict=True)  # noqa: SLF001
    )


def _target(field: Any) -> Any:
    """Return the field whose values ``field`` has: itself, unless it is a foreign key."""
    while field.is_relation:
        field = field.target_field
    return field


def _lock_held_rows(declaration: Declaration, qualify: Qualify) -> str:
    """Return statements that lock the rows that new rows point to, in the order of their keys."""
    statements = ""
    for name in declaration.holding:
        field = _field(declaration.model, name)
        key = _quote(field.target_field.column)
        statements += (
            f"        PERFORM FROM {qualify(quoted_table(field.related_model))} held "  # noqa: S608
            f"WHERE held.{key} IN (SELECT a.{_quote(field.column)} FROM {_AFTER} a) "
            f"ORDER BY held.{key} FOR SHARE;\n"
        )
    if not statements:
        return ""
    return f"    IF TG_OP IN ('INSERT', 'UPDATE') THEN\n{statements}    END IF;\n"


def _touched_names(declaration: Declaration, sides: tuple[str, ...], qualify: Qualify = str) -> str:
    """Return SQL for an array of the names that one row touches, with NULL for none."""
    single: list[str] = []
    looked_up: list[str] = []
    for touch in declaration.touches:
        condition = None
        if len(sides) > 1:
            condition = _condition(declaration.model, touch)
        elif touch.updates_only:
            continue
        if touch.through is not None or touch.via is not None:
            names = _looked_up_names(declaration.model, touch, sides, qualify)
            looked_up.append(
                f"CASE WHEN {condition} THEN {names} ELSE '{{}}' END" if condition else names
            )
            continue
        if touch.key is None:
            keys = _list_names(declaration.model, touch.kind, sides)
        else:
            field = _field(declaration.model, touch.key)
            keys = [_name_sql(touch.kind, field, side) for side in sides]
        single += [f"CASE WHEN {condition} THEN {key} END" if condition else key for key in keys]
    return " || ".join([f"ARRAY[{', '.join(single)}]::text[]", *looked_up])


def _list_names(model: type[models.Model], kind: str, sides: tuple[str, ...]) -> list[str]:
    name = _literal(f"{kind}:")
    if not has_blocks(model) or "." in kind:  # a column of a list has no blocks
        return [name]
    pk = _column(model, "pk")
    return [name, *(f"{name} || ({side}.{pk} >> {BLOCK_BITS})" for side in sides)]


def _looked_up_names(
    model: type[models.Model], touch: Touch, sides: tuple[str, ...], qualify: Qualify
) -> str:
    owner = key_model(touch, model)
    if touch.via is not None:
        own: Any = model._meta.get_field(touch.via)  # noqa: SLF001
        column, link_column = own.column, own.target_field.column
    else:
        link = links_of(touch, model)[0]
        column, link_column = link.target_field.column, link.column
    keys = ", ".join(f"{side}.{_quote(column)}" for side in sides)
    name = _name_sql(touch.kind, _field(owner, touch.key or "pk"), "link")
    return (
        f"ARRAY(SELECT {name} FROM {qualify(quoted_table(owner))} link "  # noqa: S608
        f"WHERE link.{_quote(link_column)} IN ({keys}))"
    )


def _name_sql(kind: str, field: Any, side: str) -> str:
    """Return SQL for a dependency's name as ``pcf.cache.keys`` writes it.

    The write touches the whole kind when the keys of the field have no spelling.
    """
    key_type = key_type_of(field)
    if key_type is None:
        return _literal(f"{kind}!")
    return f"{_literal(f'{kind}:')} || {key_type.spell_sql(f'{side}.{_quote(field.column)}')}"


def _condition(model: type[models.Model], touch: Touch) -> str:
    """Return SQL that tells whether the write to a row counts: the row is new, gone or changed.

    The values are compared by their bytes (``*<>``): a type needs no operator, and values that are
    equal but not the same (1.0 and 1.00 as numeric) count as changed.
    """
    # a child in multi-table inheritance has the columns of its parent in another table
    own = model._meta.local_concrete_fields  # noqa: SLF001
    names = touch.only or [field.name for field in own if field.column]
    columns = [_quote(_field(model, name).column) for name in names if name not in touch.ignoring]
    pk = _pk_columns(model)[0]
    tests = [] if touch.updates_only else [f"a.{pk} IS NULL OR b.{pk} IS NULL"]
    if columns:
        before, after = (", ".join(f"{side}.{column}" for column in columns) for side in "ba")
        tests.append(f"ROW({before})::record OPERATOR(pg_catalog.*<>) ROW({after})::record")
    return f"({' OR '.join(tests) or 'FALSE'})"


def _field(model: type[models.Model], name: str) -> Any:
    meta = model._meta  # noqa: SLF001
    try:
        return meta.pk if name == "pk" else meta.get_field(name)
    except FieldDoesNotExist as error:
        raise FieldDoesNotExist(f"touches.py: {error}") from None


def _column(model: type[models.Model], name: str) -> str:
    return _quote(_field(model, name).column)


def _pk_columns(model: type[models.Model]) -> list[str]:
    """Return the columns of the primary key: several for a composite one."""
    fields: list[Any] = model._meta.pk_fields  # noqa: SLF001
    return [_quote(field.column) for field in fields]


def table_of(model: type[models.Model]) -> str:
    """Return the table of ``model``."""
    return model._meta.db_table  # noqa: SLF001


def quoted_table(model: type[models.Model]) -> str:
    """Return the quoted table; ``db_table`` may hold a schema (``schema"."table``)."""
    return _quote(model._meta.db_table)  # noqa: SLF001


def _quote(name: str) -> str:
    """Return a name in quotes, as Django quotes it."""
    return name if name.startswith('"') and name.endswith('"') else f'"{name}"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
