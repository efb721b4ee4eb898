"""Deletion of many rows in bounded steps.

``delete_in_steps`` deletes rows and the rows that depend on them, as ``QuerySet.delete`` does. But
each step is a transaction of its own, with a bounded number of rows, so neither time nor memory of
a step grows with the number of rows. A deletion that ends early has deleted complete rows. The same
call continues it. ``run_in_time`` ends a deletion early, before the request runs out of time.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from django.db import models, router, transaction
from django.db.models import ForeignObjectRel, Model, QuerySet

from pcf.database.query_log import meant_repetitions
from pcf.timeouts import current_timeout

ROWS = 1_000  # of one step
DEPENDENT_ROWS = 10_000  # that are deleted in one step with the rows on which they depend
RESERVE = 5.0  # seconds of a request that ``run_in_time`` leaves: a step takes less

Watcher = Callable[[Sequence[Any]], None]
Deleter = Callable[[Sequence[Any]], int]

_deleters: dict[type[Model], Deleter] = {}


def deletes(model: type[Model]) -> Callable[[Deleter], Deleter]:
    """Return a decorator: the function deletes rows of ``model`` in place of ``QuerySet.delete``.

    The function gets the keys of at most ROWS locked rows. It deletes these rows and the rows that
    depend on them, in the default database, and returns how many rows it has deleted.
    """

    def register(function: Deleter) -> Deleter:
        _deleters[model] = function
        return function

    return register


def cascades(model: type[Model]) -> list[ForeignObjectRel]:
    """Return the relations through which a deletion of ``model`` deletes other rows."""
    return [
        relation
        for relation in model._meta.get_fields(include_hidden=True)  # noqa: SLF001
        if isinstance(relation, ForeignObjectRel)
        and getattr(relation, "on_delete", None) is models.CASCADE
    ]


def protections(model: type[Model]) -> list[ForeignObjectRel]:
    """Return the relations whose rows forbid a deletion of ``model``."""
    return [
        relation
        for relation in model._meta.get_fields(include_hidden=True)  # noqa: SLF001
        if isinstance(relation, ForeignObjectRel)
        and getattr(relation, "on_delete", None) in {models.PROTECT, models.RESTRICT}
    ]


def dependents(relation: ForeignObjectRel, rows: Any) -> QuerySet[Any]:
    """Return the rows of ``relation`` that depend on ``rows``, a query set or keys."""
    model: Any = relation.related_model
    keys = rows.order_by().values("pk") if isinstance(rows, QuerySet) else rows
    found: QuerySet[Any] = model._base_manager.filter(**{f"{relation.field.name}__in": keys})  # noqa: SLF001
    return found


def count_rows(rows: QuerySet[Any]) -> dict[type[Model], int]:
    """Return how many rows of each model a deletion of ``rows`` deletes."""
    counts = {rows.model: rows.count()}
    for relation in cascades(rows.model):
        below = dependents(relation, rows)
        for model, number in ({} if _is_self(relation) else count_rows(below)).items():
            counts[model] = counts.get(model, 0) + number
    return {model: number for model, number in counts.items() if number}


def models_of(rows: QuerySet[Any]) -> set[type[Model]]:
    """Return the models of which a deletion of ``rows`` deletes a row. Needs no counts."""
    found = {rows.model} if rows.exists() else set()
    for relation in cascades(rows.model):
        if not _is_self(relation):
            found |= models_of(dependents(relation, rows))
    return found


def delete_in_steps(
    rows: QuerySet[Any], *, size: int = ROWS, watch: Watcher | None = None
) -> Iterator[int]:
    """Delete ``rows``; yield the number of deleted rows after each step.

    A step deletes at most ``size`` rows, and at most DEPENDENT_ROWS that depend on them. ``watch``
    gets the instances of ``rows`` before they are deleted, in the transaction of the step.
    Dependent rows do not reach ``watch``.
    """
    using = router.db_for_write(rows.model)
    rows = rows.using(using).order_by("pk")
    while True:
        keys = list(rows.values_list("pk", flat=True)[:size])
        if not keys:
            return
        for relation in cascades(rows.model):
            below = dependents(relation, keys)
            if not (_is_self(relation) or _is_small(below, size)):
                yield from delete_in_steps(below, size=size)
        with transaction.atomic(using=using):
            known = rows if watch is not None else rows.only("pk")
            locked = list(known.filter(pk__in=keys).select_for_update(of=("self",)))
            if watch is not None and locked:
                watch(locked)
            deleted = _delete(rows.model, [row.pk for row in locked], using) if locked else 0
        yield deleted


def run_in_time(steps: Iterable[Any]) -> None:
    """Run steps, one at least, while the request has more than RESERVE seconds left."""
    timeout = current_timeout()
    with meant_repetitions():
        for _ in steps:
            if timeout is not None and timeout.remaining() < RESERVE:
                return


def change_in_steps(
    rows: QuerySet[Any], change: Callable[[Sequence[Any]], Any], *, size: int = ROWS
) -> Iterator[int]:
    """Call ``change`` with ``rows``, locked, ``size`` at a time; yield the number of each step.

    Each step is a transaction of its own. ``change`` must make its rows leave the query set.
    """
    using = router.db_for_write(rows.model)
    rows = rows.using(using).order_by("pk")
    while True:
        with transaction.atomic(using=using):
            locked = list(rows.select_for_update(of=("self",))[:size])
            if locked:
                change(locked)
        if not locked:
            return
        yield len(locked)


def _delete(model: type[Model], keys: Sequence[Any], using: str) -> int:
    if model in _deleters:
        return _deleters[model](keys)
    rows: QuerySet[Any] = model._base_manager.using(using).filter(pk__in=keys)  # noqa: SLF001
    return rows.only("pk").delete()[0]


def _is_self(relation: ForeignObjectRel) -> bool:
    return relation.related_model is relation.model


def _is_small(rows: QuerySet[Any], size: int) -> bool:
    """Return whether one step may delete all of ``rows`` with the rows on which they depend."""
    limit = min(DEPENDENT_ROWS, 10 * size)
    return not cascades(rows.model) and rows.order_by()[: limit + 1].count() <= limit
