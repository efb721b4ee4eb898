"""What ``manage.py check`` asks of connections: samples of their statements, and their indexes."""

from collections.abc import Iterator
from typing import Any

from django.db.models import F, Field, Index, Model, OrderBy

from pcf.database.compiled_queries import Parameter
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


def _last_step(model: type[Model], path: str) -> tuple[type[Model], str]:
    """Return the model with the last field of a path, and the name of the field."""
    *steps, last = path.split("__")
    for step in steps:
        relation: Any = model._meta.get_field(step)  # noqa: SLF001 - Django's documented API
        model = relation.related_model
    return model, _field_name(model, last)


def _field_name(model: type[Model], name: str) -> str:
    meta: Any = model._meta  # noqa: SLF001 - as above
    if name == "pk":
        return str(meta.pk.name)
    fields: list[Field[Any, Any]] = meta.concrete_fields
    return next(each.name for each in fields if name in {each.name, each.attname})


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
