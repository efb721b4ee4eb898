"""Checks of ``manage.py check``: the names that edges, loaders and ``touches.py`` give each other.

A wrong name of a loader fails the first request. A wrong kind or a column that no Touch counts is
worse: no write removes the responses that depend on it. Then the cache stays disabled.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.models import F, Index, Model, OrderBy

from pcf._compat.graphene_django import model_of, reads_database
from pcf.cache.declaration_checks import (
    DeclarationProblem,
    declaration_problems,
    edge_problems,
    edges,
    schema_fields,
    table_problems,
)
from pcf.cache.triggers import declared_kinds, key_type_of_kind
from pcf.database.key_types import KeyType, ListKey, field_of, key_type_of
from pcf.execution.loaders import find_loader
from pcf.execution.nodes import NodeEdge, NodesEdge, node_id_of
from pcf.execution.paging import is_by_key
from pcf.execution.row_loaders import PageLoader, RootPageLoader, RowListLoader, RowLoader
from pcf.pagination.loaders import ConnectionLoader


@register("pcf")
def check_edges(**_: Any) -> list[CheckMessage]:
    """Check the loaders of all edges: their names, their kinds, and the columns that they read."""
    if any(declaration_problems()):  # check_touches reports them; no columns are known
        return []
    return list(map(_error, edge_problems()))


@register("pcf")
def check_loaders(**_: Any) -> list[CheckMessage]:
    """Check the keys and the orders of the row loaders of all edges."""
    found: dict[str, CheckMessage] = {}
    for name, loader in _loaders():
        if issubclass(loader, RowLoader):
            found.update((message.msg, message) for message in _problems(name, loader))
    return list(found.values())


def _loaders() -> Iterator[tuple[str, type[Any]]]:
    """Yield the loaders of all edges with their names."""
    for _place, edge in edges():
        for name in edge.loaders:
            try:
                yield name, find_loader(name)
            except (ImportError, TypeError):  # check_edges names it
                continue


def _problems(name: str, loader: type[RowLoader]) -> Iterator[CheckMessage]:
    try:
        key_type = loader.key_type()
    except ImproperlyConfigured as error:
        yield Error(
            f"{name}: {error}",
            hint="Look the rows up by another field, or write a subclass of Loader.",
            id="pcf.E008",
        )
        return
    is_page = issubclass(loader, PageLoader | RootPageLoader)
    if is_page and issubclass(loader, RowListLoader):
        terms = loader.default_order() if loader.order_by is None else loader.order_by
        if not is_by_key(loader.model, terms):
            yield Error(
                f"{name}: pages have the order of the primary key, not {terms}",
                hint='State it in the loader: order_by = ("pk",).',
                id="pcf.E009",
            )
    read = ListKey() if issubclass(loader, RootPageLoader) else key_type
    yield from _disagreement(name, "dependency", loader.dependency, read)
    if loader.row_dependency is not None:
        pk = key_type_of(loader.model._meta.pk)  # noqa: SLF001
        yield from _disagreement(name, "row_dependency", loader.row_dependency, pk)


def _disagreement(
    name: str, attribute: str, kind: str, read: KeyType | None
) -> Iterator[CheckMessage]:
    """Yield a warning when reads and writes spell the keys of ``kind`` by different types."""
    written = key_type_of_kind(kind)
    if written is None or read is None or type(read) is type(written):
        return
    yield Warning(
        f"{name}: {attribute} {kind!r} has keys of the type {read.name}, and its touches have keys "
        f"of the type {written.name}: every write to the kind removes every response of the loader",
        hint="Let the touches of the kind name the field that the loader looks up.",
        id="pcf.W002",
    )


@register("pcf")
def check_orders(**_: Any) -> list[CheckMessage]:
    """Check that each order of each connection is total: no row is behind a NULL."""
    found: dict[str, CheckMessage] = {}
    for name, loader in _loaders():
        if issubclass(loader, ConnectionLoader):
            for order, path in _orders_with_null(loader):
                message = f"{name}: the column {path} of the order {order} may be NULL"
                found[message] = Error(message, hint=NULL_HINT, id="pcf.E011")
    return list(found.values())


NULL_HINT = (
    "No page continues behind a NULL. Sort by a column that is never NULL. Or say not_null=True, "
    "when no loader with the order has rows with NULL."
)


def _orders_with_null(loader: type[ConnectionLoader]) -> Iterator[tuple[str, str]]:
    """Yield the orders by a column that may be NULL, each with the path of the column."""
    for name, order in loader.orders.all.items():
        path = loader.paths.get(name, order.by)
        field = field_of(loader.model, path) if isinstance(path, str) else None
        if field is not None and field.null and not order.not_null:
            yield name, str(path)


@register("pcf")
def check_indexes(**_: Any) -> list[CheckMessage]:
    """Check that an index serves each order of each connection."""
    found: dict[str, CheckMessage] = {}
    for name, loader in _loaders():
        if issubclass(loader, ConnectionLoader):
            for order, columns in _orders_without_index(loader):
                message = f"{name}: no index serves the order {order}: {columns}"
                found[message] = Warning(message, hint=INDEX_HINT, id="pcf.W004")
    return list(found.values())


INDEX_HINT = (
    "Add an index on these columns. Or name the order as unindexed in the loader, when its lists "
    "are short."
)


def _orders_without_index(loader: type[ConnectionLoader]) -> Iterator[tuple[str, str]]:
    """Yield the orders that need an index and have none, each with the columns of the index."""
    for name, order in loader.orders.all.items():
        path = loader.paths.get(name, order.by)
        if not isinstance(path, str) or not order.is_indexed or name in loader.unindexed:
            continue
        owner, key = _last_step(loader.model, loader.key)
        ordered, column = _last_step(loader.model, path)
        has_key = loader.key_type() is not None
        wanted = [key, column] if has_key else [column]
        if (has_key and owner is not ordered) or not _has_index(ordered, wanted):
            yield name, ", ".join(wanted)


def _last_step(model: type[Model], path: str) -> tuple[type[Model], str]:
    """Return the model with the column at the end of a path, and the name of its field."""
    *steps, last = path.split("__")
    for step in steps:
        relation: Any = model._meta.get_field(step)  # noqa: SLF001 - Django's documented API
        model = relation.related_model
    if last == "pk":
        return model, _primary_key(model)
    field: Any = model._meta.get_field(last)  # noqa: SLF001 - as above
    if field.many_to_many:  # the column of the link that points to the other rows
        forward = field if field.concrete else field.remote_field
        way = forward.m2m_reverse_field_name if field.concrete else forward.m2m_field_name
        return forward.remote_field.through, str(way())
    if not field.concrete:
        return field.related_model, _primary_key(field.related_model)
    return model, str(field.name)


def _primary_key(model: type[Model]) -> str:
    meta: Any = model._meta  # noqa: SLF001 - as above
    return str(meta.pk.name)


def _has_index(model: type[Model], wanted: list[str]) -> bool:
    """Return whether an index of ``model`` begins with the fields ``wanted``."""
    meta: Any = model._meta  # noqa: SLF001 - as above
    if len(wanted) == 1:
        field = meta.get_field(wanted[0])
        if field.primary_key or field.unique or field.db_index:
            return True
    unique = [list(each.fields) for each in meta.total_unique_constraints]
    plain = [_columns(each) for each in meta.indexes if each.condition is None]
    return any(columns[: len(wanted)] == wanted for columns in unique + plain)


def _columns(index: Index) -> list[str]:
    """Return the names of the fields of a B-tree index; of another index, none."""
    if type(index) is not Index and index.suffix != "idx":
        return []
    if index.fields:
        return [name.lstrip("-") for name in index.fields]
    names = []
    for each in index.expressions:
        expression = each.expression if isinstance(each, OrderBy) else each
        if not isinstance(expression, F):
            break
        names.append(str(expression.name))  # type: ignore[attr-defined]
    return names


@register("pcf")
def check_touches(**_: Any) -> list[CheckMessage]:
    """Check the names, the kinds and the models of all declarations."""
    return list(map(_error, declaration_problems()))


@register("pcf")
def check_account(**_: Any) -> list[CheckMessage]:
    """Check that a write can end the rights of a viewer whose responses are stored."""
    if "account" in declared_kinds():
        return []
    return [
        Warning(
            "no Touch has the kind 'account', so responses to users are not stored",
            hint="Declare Touch(kind='account', key='id', only=(...)) for the model of users, with "
            "the fields that a policy reads.",
            id="pcf.W001",
        )
    ]


@register("pcf")
def check_nodes(**_: Any) -> list[CheckMessage]:
    """Check that ``node`` finds the objects of each type with a ``nodeId``."""
    in_schema: set[str] = set()
    messages: list[CheckMessage] = []
    finders = [edge.nodes for _, edge in edges() if isinstance(edge, NodeEdge | NodesEdge)]
    for place, resolve, graphene_type in schema_fields():
        node_id = node_id_of(resolve)
        if node_id is None:
            continue
        type_name = place.partition(".")[0]
        in_schema.add(type_name)
        if not any(type_name in finder.names for finder in finders):
            message = f"{place}: no field of Query finds an object by this id"
            hint = "Name the type in NodeEdge and NodesEdge of Query."
        elif not _is_by_key(node_id.loader, model_of(graphene_type)):
            message = f"{place}: {node_id.loader} does not load the rows of the type by their keys"
            hint = "Name a RowLoader of the type's model, by its primary key."
        else:
            continue
        messages.append(Error(message, hint=hint, id="pcf.E010"))
    for name in sorted({name for finder in finders for name in finder.names} - in_schema):
        message = f"Query finds nodes of the type {name}, which the schema does not have"
        hint = "Name the type in types= of graphene.Schema."
        messages.append(Error(message, hint=hint, id="pcf.E010"))
    return messages


def _is_by_key(name: str, model: Any) -> bool:
    try:
        loader = find_loader(name)
    except (ImportError, TypeError):  # check_edges names it
        return True
    if not issubclass(loader, RowLoader) or issubclass(loader, RowListLoader):
        return False
    return loader.model is model and loader.key_field() is model._meta.pk  # noqa: SLF001


@register("pcf")
def check_reads(**_: Any) -> list[CheckMessage]:
    """Check for fields of graphene-django that read the database outside of loaders."""
    return [
        Warning(
            f"{place} reads the database outside of loaders, so responses with it are not stored",
            hint="Make the field an Edge, or write a resolver that declares its reads.",
            id="pcf.W003",
        )
        for place, resolve, graphene_type in schema_fields()
        if reads_database(resolve, graphene_type)
    ]


@register("pcf", Tags.database)
def check_tables(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Check that triggers can serve the tables; ``migrate`` and ``check --database`` do."""
    errors: list[CheckMessage] = []
    if any(declaration_problems()):  # names that SQL cannot be made of
        return errors
    for alias in databases or ():
        if connections[alias].vendor == "postgresql":
            with connections[alias].cursor() as cursor:
                errors += map(_error, table_problems(cursor))
    return errors


def _error(problem: DeclarationProblem) -> CheckMessage:
    return Error(problem.message, hint=problem.hint, id=problem.code)
