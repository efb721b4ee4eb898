"""What ``manage.py check`` asks of connections: samples of their statements, and their indexes."""

from collections.abc import Iterator
from typing import Any

from django.db.models import F, Index, Model, OrderBy

from pcf.database.compiled_queries import Parameter
from pcf.database.key_types import field_of
from pcf.pagination.filters import Condition, Group
from pcf.pagination.loaders import ConnectionLoader
from pcf.pagination.orders import Term
from pcf.pagination.search import SearchFilter


def sample_arguments(loader: type[ConnectionLoader]) -> Iterator[dict[str, Any]]:
    """Yield arguments with each order, and with each operator of each filter."""
    conditions = [
        Condition(name, operator, ("filter_0",))
        for name, each in loader.filters.filters.items()
        for operator in each.operators
    ]
    searches = (
        condition
        for condition in conditions
        if isinstance(loader.filters.filters[condition.name], SearchFilter)
    )
    search = next(searches, None)
    for name, order in loader.orders.all.items():
        if not order.needs_search or search is not None:
            yield _sample(name, search if order.needs_search else None)
    for condition in conditions:
        yield {**_sample("ID", condition), **_dependencies(loader, condition)}


def _sample(order: str, condition: Condition | None) -> dict[str, Any]:
    terms = (Term(order, descending=False), Term("ID", descending=False))
    return {
        "order": terms if order != "ID" else terms[:1],
        "count": 1,
        "backward": False,
        "filter": Group("and", () if condition is None else (condition,)),
        "search": condition,
        "others": None,
        "dependencies": (),
        "filter_0": Parameter("filter_0"),
        "after_0": Parameter("after_0"),
        "after_1": Parameter("after_1"),
    }


def _dependencies(loader: type[ConnectionLoader], condition: Condition) -> dict[str, Any]:
    each = loader.filters.filters[condition.name]
    return {"dependencies": tuple(each.dependencies(condition.operator, ["x"]))}


def orders_without_index(loader: type[ConnectionLoader]) -> Iterator[tuple[str, str]]:
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


def orders_with_null(loader: type[ConnectionLoader]) -> Iterator[tuple[str, str]]:
    """Yield the orders by a column that may be NULL, each with the path of the column."""
    for name, order in loader.orders.all.items():
        path = loader.paths.get(name, order.by)
        field = field_of(loader.model, path) if isinstance(path, str) else None
        if field is not None and field.null and not order.not_null:
            yield name, str(path)


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
