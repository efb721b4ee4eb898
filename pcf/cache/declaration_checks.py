"""Checks of the declarations of touches: their names, their tables, and what they cover.

``manage.py check`` reports the problems, and ``migrate`` installs nothing while there are some.

A response may be stored when a write to each thing that it has read removes it:

* each of its kinds is declared, so a trigger touches it;
* each column in a condition of a loader's statement is covered: a Touch with the kind of the loader
  counts its changes. The same holds for the order of a list with a limit;
* each column that the statement selects is covered by that kind or by the kind of the row.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from django.conf import settings
from django.core.exceptions import FieldDoesNotExist
from django.db import router
from django.db.models import Model
from django.utils.module_loading import import_string

from pcf._compat.django_db import Column, UsedColumns, compile_select
from pcf._compat.graphene import graphene_type_of
from pcf.cache.trigger_sql import Trigger, quoted_table, table_of, triggers
from pcf.cache.triggers import Declaration, Touch, declarations, declared_kinds, key_model, links_of
from pcf.database.compiled_queries import CompiledQuery, Parameter
from pcf.execution.dependencies import Dependencies
from pcf.execution.edges import Edge
from pcf.execution.loaders import Loader, find_loader
from pcf.execution.row_loaders import RowLoader
from pcf.pagination.loaders import ConnectionLoader, sample_arguments
from pcf.viewer import Scope, Viewer

NO_LOADER = "pcf.E001"
UNKNOWN_KIND = "pcf.E002"
WRONG_NAME = "pcf.E003"
WRONG_KIND = "pcf.E004"
SHARED_TABLE = "pcf.E005"
WRONG_TABLE = "pcf.E006"
NOT_COVERED = "pcf.E007"

HINT = "Name the column in only= of that Touch, or declare a Touch of this kind for its model."
MAX_STATEMENTS = 2_000  # whose coverage a process remembers

_KIND = re.compile(r"[A-Za-z0-9_.-]+")
_RESERVED = {"viewer"}  # kinds of the engine

# A trigger of a statement does not see the rows of these, or not all of their writes.
_RELATIONS = """
SELECT wanted.name, CASE
    WHEN c.relkind IN ('v', 'm') THEN 'is a view'
    WHEN c.relkind = 'f' THEN 'is a foreign table'
    WHEN c.relkind = 'p' THEN 'is partitioned'
    WHEN c.relispartition THEN 'is a partition'
    WHEN EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE c.oid IN (i.inhparent, i.inhrelid))
        THEN 'inherits from another table, or another inherits from it'
    WHEN c.relkind <> 'r' THEN 'is no table'
END
FROM unnest(%s::text[]) AS wanted (name)
JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(wanted.name)
"""

# The functions of the triggers find the operators of the system's types alone.
_KEY_TYPES = """
SELECT wanted.name, wanted.column_name, pg_catalog.format_type(t.oid, NULL)
FROM unnest(%s::text[], %s::text[]) AS wanted (name, column_name)
JOIN pg_catalog.pg_attribute a
  ON a.attrelid = pg_catalog.to_regclass(wanted.name) AND a.attname = wanted.column_name
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
WHERE t.typtype = 'b' AND t.typelem = 0 AND n.nspname <> 'pg_catalog'
"""


class DeclarationProblem(NamedTuple):
    """A problem: the code of its check, its description, and its remedy."""

    code: str
    message: str
    hint: str | None = None


def declaration_problems() -> Iterator[DeclarationProblem]:
    """Yield the problems that the declarations show without a database."""
    tables: dict[str, Declaration] = {}
    for declaration in declarations():
        meta = declaration.model._meta  # noqa: SLF001
        if meta.abstract:
            message = f"touches.py declares {meta.label}, which is abstract and has no table"
            yield DeclarationProblem(WRONG_TABLE, message, "Declare its children.")
            continue
        for place, problem in _wrong_names(declaration):
            yield DeclarationProblem(
                WRONG_NAME, f"touches.py declares {place} of {meta.label}: {problem}"
            )
        for kind in declaration.kinds:
            if not _KIND.fullmatch(kind) or kind in _RESERVED:
                yield DeclarationProblem(
                    WRONG_KIND,
                    f"touches.py declares the kind {kind!r} of {meta.label}",
                    "A kind has letters, digits, '-', '_' and '.'. The kind 'viewer' is the "
                    "engine's own.",
                )
        other = tables.setdefault(quoted_table(declaration.model), declaration)
        if other is not declaration:
            yield DeclarationProblem(
                SHARED_TABLE,
                f"touches.py declares {other.model._meta.label} and {meta.label}, "  # noqa: SLF001
                f"which have one table, {meta.db_table}",
                "Declare all touches for one of them.",
            )


def _wrong_names(declaration: Declaration) -> Iterator[tuple[str, str]]:
    """Yield the place of each wrong name in ``declaration``, and what is wrong with it."""
    model = declaration.model
    for touch in declaration.touches:
        for wrong in _wrong_names_of(touch, declaration):
            yield f"Touch(kind={touch.kind!r})", wrong
    for name in declaration.holding:
        problem = _problem(model, name)
        if problem is None and not model._meta.get_field(name).is_relation:  # noqa: SLF001
            problem = f"the field {name!r} is no foreign key"
        if problem:
            yield "holding", problem


def _wrong_names_of(touch: Touch, declaration: Declaration) -> Iterator[str]:
    model = declaration.model
    if problem := _wrong_reference(touch, declaration):
        yield problem
        return
    names = [(model, name, False) for name in (*touch.only, *touch.ignoring)]
    owner = key_model(touch, model)
    if touch.key is not None or owner is not model:
        names.insert(0, (owner, touch.key or "pk", True))
    for owner, name, is_key in names:
        if problem := _problem(owner, name, is_key=is_key):
            yield problem
    if problem := _wrong_link(touch, model):
        yield problem


def _wrong_reference(touch: Touch, declaration: Declaration) -> str | None:
    """Return what is wrong with ``touch.via``."""
    if touch.via is None:
        return None
    name = touch.via
    if touch.through is not None:
        return "a touch has either through or via"
    problem = _problem(declaration.model, name)
    if problem is None and not declaration.model._meta.get_field(name).is_relation:  # noqa: SLF001
        return f"the field {name!r} is no foreign key"
    if problem is None and name not in declaration.holding:
        return f"the declaration must hold the rows of via: holding=({name!r},)"
    return problem


def _wrong_link(touch: Touch, model: type[Model]) -> str | None:
    if touch.through is None:
        return None
    label = touch.through._meta.label  # noqa: SLF001
    links = links_of(touch, model)
    if len(links) == 1:
        return None
    if links:
        names = ", ".join(field.name for field in links)
        return f"{label} has {len(links)} foreign keys to the model ({names}): name one as link"
    if touch.link is not None:
        return f"{label} has no foreign key {touch.link!r} to the model"
    return f"{label} has no foreign key to the model"


def _problem(model: type[Model], name: str, *, is_key: bool = False) -> str | None:
    meta: Any = model._meta  # noqa: SLF001
    if name == "pk":
        if is_key and len(meta.pk_fields) > 1:
            return f"the primary key of {meta.label} is composite: name one of its fields as key"
        return None
    try:
        field = meta.get_field(name)
    except FieldDoesNotExist:
        return f"{meta.label} has no field {name!r}"
    if field not in meta.concrete_fields or not field.column:
        return f"the field {name!r} has no column in the table"
    if field not in meta.local_concrete_fields and not meta.proxy:
        parent = field.model._meta.label  # noqa: SLF001
        return f"the column of {name!r} is in the table of {parent}: declare it there"
    return None


def table_problems(cursor: Any, wanted: list[Trigger] | None = None) -> list[DeclarationProblem]:
    """Return the tables of ``wanted`` (default: of all triggers) that triggers cannot serve."""
    used: dict[str, str] = {}
    compared: set[tuple[str, str]] = set()
    for trigger in triggers() if wanted is None else wanted:
        label = trigger.declaration.model._meta.label  # noqa: SLF001
        used.update(dict.fromkeys(trigger.tables, label))
        compared.update(trigger.compared_columns)
    cursor.execute(_RELATIONS, [list(used)])
    problems = [
        DeclarationProblem(
            WRONG_TABLE,
            f"touches.py declares {used[name]}, but {name} {problem}: "
            "its writes pass by the triggers",
            "Declare the tables that are written, or cache no response that depends on it.",
        )
        for name, problem in cursor.fetchall()
        if problem is not None
    ]
    pairs = sorted(compared)
    cursor.execute(_KEY_TYPES, [[name for name, _ in pairs], [column for _, column in pairs]])
    problems += [
        DeclarationProblem(
            WRONG_TABLE,
            f"touches.py declares {used[name]}, but the foreign key {column} of {name} is of the "
            f"type {key_type}, whose operators triggers do not find",
            "Name it neither as holding nor through its model; key= may name it.",
        )
        for name, column, key_type in cursor.fetchall()
    ]
    return problems


def uncovered(dependencies: Dependencies) -> str | None:
    """Return what a write could change unnoticed of what the response has read; None for nothing.

    The kinds of the dependencies are those of ``declared_kinds``.
    """
    for loader, statement, kinds, shows_columns in dependencies.statements:
        if problem := _problem_of(loader, statement, kinds, shows_columns):
            return problem
    return None


@lru_cache(MAX_STATEMENTS)
def _problem_of(
    loader: type[RowLoader], statement: CompiledQuery, kinds: frozenset[str], shows_columns: bool
) -> str | None:
    return next(problems_of(loader, statement.used, kinds, shows_columns=shows_columns), None)


def problems_of(
    loader: type[RowLoader], used: UsedColumns, kinds: frozenset[str], *, shows_columns: bool
) -> Iterator[str]:
    """Yield what the touches do not cover of a statement of ``loader``.

    The loader has recorded what the statement looks for under ``kinds``. A loader of instances
    selects all columns and shows some: with ``shows_columns`` False selected columns do not count.
    """
    label = f"{loader.__module__}.{loader.__qualname__}"
    if not used.is_known:
        yield f"{label}: its query set holds raw SQL, whose columns are not known"
    listing, row_kind = sorted(kinds), loader.row_dependency
    listed = _covered_columns(listing)
    row = _covered_columns([*listing, row_kind]) if row_kind else listed
    if {table for table, _ in row}.isdisjoint((table_of(loader.model), _link_table(loader))):
        names = " or ".join(map(repr, listing))
        yield f"{label}: no Touch of {loader.model._meta.label} has the kind {names}"  # noqa: SLF001
    ordered = listed if used.is_sliced else row
    for columns, covered, possible in (
        (used.conditions, listed, listing),
        (used.ordering, ordered, listing if used.is_sliced else [*listing, row_kind]),
        (used.selected if shows_columns else (), row, [*listing, row_kind]),
    ):
        for table, column in sorted(set(columns) - covered):
            names = " or ".join(repr(name) for name in dict.fromkeys(possible) if name)
            yield f"{label}: no Touch of the kind {names} counts changes of {table}.{column}"


def _link_table(loader: type[RowLoader]) -> str | None:
    """Return the table of links between a list and its rows, for a loader that shows no row.

    PostgreSQL allows no link without its row, so the links alone decide the number of rows.
    """
    first, *rest = loader.key.split("__")
    if loader.shows_rows or len(rest) != 1:
        return None
    relation: Any = loader.model._meta.get_field(first)  # noqa: SLF001 - Django's documented API
    if not relation.one_to_many or not relation.field.db_constraint:
        return None
    return table_of(relation.related_model)


def _covered_columns(kinds: Iterable[str]) -> set[Column]:
    """Return the columns whose change touches one of ``kinds``."""
    wanted = set(kinds)
    return {column for each in declarations() for column in _columns_of(each, wanted)}


def _columns_of(declaration: Declaration, kinds: set[str]) -> Iterator[Column]:
    meta: Any = declaration.model._meta  # noqa: SLF001
    for touch in declaration.touches:
        if touch.kind in kinds:
            names = touch.only or [field.name for field in meta.local_concrete_fields]
            for name in names:
                if name not in {*touch.ignoring, "pk"}:
                    yield meta.db_table, meta.get_field(name).column


# --- when the process starts, and in ``manage.py check``


def cache_problems() -> list[DeclarationProblem]:
    """Return the problems for which a process that starts does not use the cache."""
    found = list(declaration_problems())
    if not found:  # otherwise no columns are known
        found = [problem for problem in edge_problems() if problem.code != NO_LOADER]
    return found


def edge_problems() -> Iterator[DeclarationProblem]:
    """Yield what is wrong with the loaders of all edges of the schema, each once."""
    kinds = declared_kinds()
    known: set[str] = set()
    for place, edge in edges():
        for name in edge.loaders:
            if name in known:
                continue
            known.add(name)
            try:
                loader = find_loader(name)
            except (ImportError, TypeError) as error:  # TypeError: a name without an app
                message = f"{place}: there is no loader {name}: {error}"
                yield DeclarationProblem(NO_LOADER, message)
                continue
            wrong = list(_wrong_kinds(name, loader, kinds))
            yield from wrong
            if not wrong and issubclass(loader, RowLoader):
                for problem in loader_problems(loader, router.db_for_read(loader.model)):
                    yield DeclarationProblem(NOT_COVERED, problem, HINT)


def _wrong_kinds(
    name: str, loader: type[Loader], kinds: frozenset[str]
) -> Iterator[DeclarationProblem]:
    for attribute in ("dependency", "row_dependency"):
        kind = getattr(loader, attribute, None)
        if kind is not None and kind not in kinds:
            yield DeclarationProblem(
                UNKNOWN_KIND,
                f"{name}: no Touch has the kind {kind!r} of {attribute}, so no write would "
                "remove the responses that depend on it",
                "Declare it in touches.py of the app that has the model.",
            )


def edges() -> Iterator[tuple[str, Edge]]:
    """Yield the edges of the schema, each with the names of its type and field."""
    for place, resolve, _ in schema_fields():
        edge = getattr(resolve, "__self__", None)
        if isinstance(edge, Edge):
            yield place, edge


def schema_fields() -> Iterator[tuple[str, Any, type | None]]:
    """Yield the name of each field of the schema, its resolver, and the graphene type around it."""
    name = getattr(settings, "GRAPHENE", {}).get("SCHEMA")
    if name is None:
        return
    for type_ in import_string(name).graphql_schema.type_map.values():
        for field_name, field in getattr(type_, "fields", {}).items():
            resolve = getattr(field, "resolve", None)
            yield f"{type_.name}.{field_name}", resolve, graphene_type_of(type_)


def loader_problems(loader: type[RowLoader], using: str) -> list[str]:
    """Return what the touches do not cover of the statements of ``loader``, for each viewer.

    A query set that needs arguments of its own is checked when a request runs it.
    """
    found: dict[str, None] = {}
    for viewer in _viewers():
        for arguments in _samples(loader):
            try:
                queryset = loader.build(viewer, arguments)
                used = compile_select(queryset.using(using).values_list("pk"), using).used
            except Exception:  # noqa: BLE001, S112 - it is the project's code, and needs others
                continue
            kinds = loader(viewer, Dependencies(), arguments).kinds()
            found.update(dict.fromkeys(problems_of(loader, used, kinds, shows_columns=False)))
    return list(found)


def _samples(loader: type[RowLoader]) -> Iterable[dict[str, Any]]:
    """Return arguments that show all columns that statements of the loader can look for."""
    if issubclass(loader, ConnectionLoader):
        return sample_arguments(loader)
    return [{"first": 1, "after": Parameter("after")}]


def _viewers() -> Iterator[Viewer]:
    """Yield a viewer of each kind."""
    parameter: Any = Parameter("viewer")
    yield Viewer()
    for scope in Scope:
        yield Viewer(parameter, scope=scope)
    yield Viewer(parameter, is_staff=True)
