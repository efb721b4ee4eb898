"""Joins: an edge to one row whose row comes with the statement of the edge above it.

A note has one author. So the statement that looks up the note can fetch the author as well, and the
level of the author needs no statement. That holds for an ``Edge`` to one row, without arguments,
whose key is a foreign key to the field by which its loader looks rows up. The loader above has to
look rows up by a unique field, since the statement of a list has an order.

The two loaders stay apart: the one above offers the rows, and the loader of the edge takes those
that a level asks for (``Loader.offer``). Each row is what its own loader would have fetched,
because its own statement is a part of the joined one.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from django.db.models import Model

from pcf.database.key_types import target_of
from pcf.execution.edges import Edge, EdgeLevel
from pcf.execution.loaders import Loaders, find_loader
from pcf.execution.plan import FieldPlan, Resolution
from pcf.execution.row_loaders import RowLoader
from pcf.execution.rows import Columns
from pcf.execution.schema import TypeKind


class Joins(NamedTuple):
    """The edges below a field whose rows its statement can fetch.

    ``columns`` holds the columns with their keys, ``loaders`` the names of their loaders.
    ``are_last`` says that nothing else below the field needs a statement.
    """

    model: type[Model]
    columns: Columns
    loaders: tuple[str, ...]
    are_last: bool


def joins_below(field: FieldPlan, columns: Mapping[str, Columns]) -> Joins | None:
    """Return the joins of a field; None when it has none.

    ``columns`` holds the columns of the loaders that return light rows.
    """
    output, edge = field.output_type, field.edge
    if edge is None or output.kind is not TypeKind.OBJECT or edge.row_paths != ((),):
        return None
    model = find_loader(edge.loaders[0]).model if edge.loaders else None
    if model is None:
        return None
    below = field.selections.of(output.type)
    joined = [each for each in below if _is_joinable(each, model, columns)]
    if not joined:
        return None
    edges = [each for each in below if each.resolution is Resolution.EDGE]
    are_last = len(edges) == len(joined) and all(each.is_innermost for each in joined)
    are_last = are_last and all(each.is_leaf or each.edge is not None for each in below)
    found = {each.edge.columns[0]: each.edge.loaders[0] for each in joined if each.edge is not None}
    return Joins(model, tuple(found), tuple(found.values()), are_last)


def _is_joinable(field: FieldPlan, model: type[Model], columns: Mapping[str, Columns]) -> bool:
    edge = field.edge
    if type(edge) is not Edge or edge.many or edge.is_paged or field.definition.args:
        return False
    (name,) = edge.loaders
    return name in columns and _leads_to_key(model, edge.columns[0], find_loader(name))


def _leads_to_key(model: type[Model], column: str, loader: Any) -> bool:
    """Return whether ``column`` is a foreign key to the field that ``loader`` looks rows up by."""
    if not _looks_up_one(loader):
        return False
    for field in model._meta.concrete_fields:  # noqa: SLF001 - Django's documented API
        if field.attname == column:
            return field.is_relation and target_of(field) is loader.key_field()
    return False


def _looks_up_one(loader: Any) -> bool:
    """Return whether the class finds one row for a key, by the engine's own code."""
    return (
        issubclass(loader, RowLoader)
        and loader.load_batch is RowLoader.load_batch
        and loader.planned_read is RowLoader.planned_read
        and loader.build.__func__ is RowLoader.build.__func__  # type: ignore[attr-defined]
        and loader.row_dependency is None  # else the key alone does not tell what it depends on
        and getattr(loader.key_field(), "unique", False)
    )


def join(level: EdgeLevel, joins: Joins, columns: Mapping[str, Columns], loaders: Loaders) -> bool:
    """Have the loader of ``level`` fetch the rows of ``joins``; return whether it will."""
    if len(level.loads) != 1:
        return False
    loader: Any = level.loads[0][0]
    if loader.columns is None or loader.model is not joins.model or not _looks_up_one(type(loader)):
        return False
    others: Sequence[Any] = [loaders.get_light(name, columns[name], {}) for name in joins.loaders]
    if any(each.columns is None or not _looks_up_one(type(each)) for each in others):
        return False
    loader.joins = tuple(zip(joins.columns, others, strict=True))
    return True
