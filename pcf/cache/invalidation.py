"""From writes to invalidations: what a committed write touches is advanced in Redis.

An app registers for each model what a row's write touches (``register``); its managers use
``TouchingQuerySet``, because Django sends no signals for ``update`` and ``bulk_create``. Touches
are collected in the transaction, follow its savepoints, and are delivered once after the commit;
a roll-back forgets them. SQL that does not come through Django's models is not seen.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connections, models, transaction
from django.db.models import signals

from pcf.cache.gate import CacheUnavailable, gate
from pcf.execution.dependencies import Dependencies

LARGE_WRITE = 1_000  # rows; a larger write touches its kinds as a whole

Touched = Callable[[Sequence[Any], bool], Dependencies]


@dataclass(frozen=True, slots=True)
class Rule:
    """What writing rows of a model touches.

    ``touched(instances, deleting)`` names it row by row; ``kinds`` are all kinds it may name.
    """

    kinds: tuple[str, ...]
    touched: Touched


_rules: dict[type[models.Model], Rule] = {}


def register(model: type[models.Model], kinds: Iterable[str], touched: Touched) -> None:
    """Declare what writes to ``model`` touch; called from the app's ``ready``."""
    _rules[model] = Rule(tuple(kinds), touched)
    uid = f"pcf-touch-{model._meta.label}"  # noqa: SLF001
    signals.pre_save.connect(_before_save, model, dispatch_uid=uid)
    signals.post_save.connect(_after_save, model, dispatch_uid=uid)
    signals.pre_delete.connect(_before_delete, model, dispatch_uid=uid)


def touch(dependencies: Dependencies, using: str = "default") -> None:
    """Invalidate ``dependencies`` when the current transaction of ``using`` has committed."""
    connection = connections[using]
    if not connection.in_atomic_block:
        _deliver(dependencies)
        return
    last = connection.run_on_commit[-1:]
    # None stands for a block without a savepoint of its own, which cannot be rolled back alone
    savepoints = set(connection.savepoint_ids) - {None}
    if last and isinstance(last[0][1], _Pending) and last[0][0] - {None} == savepoints:
        last[0][1].dependencies.update(dependencies)
        return
    pending = _Pending(Dependencies())
    pending.dependencies.update(dependencies)
    transaction.on_commit(pending, using=using)


def touch_kinds(*written: type[models.Model], using: str = "default") -> None:
    """Invalidate whatever depends on any row of these models: for loads that bypass Django."""
    dependencies = Dependencies()
    for model in written:
        for kind in _rules[model].kinds:
            dependencies.add_kind(kind)
    touch(dependencies, using)


def known_types() -> list[str]:
    """The names of the models whose writes are known, for ``flush_type``."""
    return sorted(model.__name__ for model in _rules)


def flush_type(name: str, key: int | None = None) -> int:
    """Remove the entries that depend on a model called ``name``, or on its row ``key`` as it is
    stored now. Returns how many; for operators, after writes that Django did not see.

    Raises LookupError for a name that is not known, and CacheUnavailable.
    """
    found = {model.__name__: model for model in _rules}
    if name not in found:
        raise LookupError(f"There is no type {name}; there are {', '.join(sorted(found))}")
    model, rule = found[name], _rules[found[name]]
    dependencies = Dependencies()
    rows = [] if key is None else list(model._base_manager.filter(pk=key))  # noqa: SLF001
    if rows:
        dependencies = rule.touched(rows, False)
    else:  # a row that is gone cannot say what it touched
        for kind in rule.kinds:
            dependencies.add_kind(kind)
    return gate().invalidate(dependencies)


@dataclass(frozen=True, slots=True)
class _Pending:
    """A commit hook; touches in a row at one savepoint share it."""

    dependencies: Dependencies

    def __call__(self) -> None:
        _deliver(self.dependencies)


def _deliver(dependencies: Dependencies) -> None:
    if not len(dependencies):
        return
    try:
        gate().invalidate(dependencies)
    except CacheUnavailable:
        return  # the gate owes it and delivers it before anything else


def _before_save(sender: type[models.Model], instance: Any, using: str, **_: Any) -> None:
    """What the stored row touched before it changes: its former author, for one.

    Outside a transaction it must not be delivered before the write; it waits in the instance's
    state for ``_after_save``.
    """
    if instance.pk is None:
        return
    stored = sender._base_manager.using(using).filter(pk=instance.pk)  # noqa: SLF001
    if connections[using].in_atomic_block:
        # locked, so that nobody moves it on between this look and the write
        touch(_rules[sender].touched(list(stored.select_for_update()), False), using)
    else:
        before = _rules[sender].touched(list(stored), False)
        instance._state.pcf_touched_before = before  # noqa: SLF001


def _after_save(sender: type[models.Model], instance: Any, using: str, **_: Any) -> None:
    touched = _rules[sender].touched([instance], False)
    before = instance._state.__dict__.pop("pcf_touched_before", None)  # noqa: SLF001
    if before is not None:
        touched.update(before)
    touch(touched, using)


def _before_delete(
    sender: type[models.Model], instance: Any, using: str, origin: Any = None, **_: Any
) -> None:
    """What a row touches that is about to go; what goes with it was loaded just now."""
    rows = [instance]
    if origin is instance:  # it may be old, or not all there
        rows += sender._base_manager.using(using).filter(pk=instance.pk)  # noqa: SLF001
    touch(_rules[sender].touched(rows, True), using)


class TouchingQuerySet(models.QuerySet[Any]):
    """A query set whose bulk writes invalidate what they touch."""

    def update(self, **kwargs: Any) -> int:
        """As Django's, and invalidates what the rows touched before and touch now."""
        rule = _rules[self.model]
        if self.query.is_sliced:
            return super().update(**kwargs)  # which says that this cannot be done
        stored = self.model._base_manager.using(self.db)  # noqa: SLF001
        with transaction.atomic(using=self.db, savepoint=False):
            matching = stored.filter(pk__in=self.order_by().values("pk"))
            before = list(matching.select_for_update()[: LARGE_WRITE + 1])
            moves = {"pk", self.model._meta.pk.name} & set(kwargs)  # noqa: SLF001
            if len(before) > LARGE_WRITE or moves:
                touch_kinds(self.model, using=self.db)
                return super().update(**kwargs)
            keys = [row.pk for row in before]
            touch(rule.touched(before, False), self.db)
            # only the rows that were looked at: others may match by now
            changed = models.QuerySet.update(self.filter(pk__in=keys), **kwargs)
            touch(rule.touched(list(stored.filter(pk__in=keys)), False), self.db)
            return changed

    def bulk_create(
        self,
        objs: Iterable[Any],
        batch_size: int | None = None,
        ignore_conflicts: bool = False,
        update_conflicts: bool = False,
        *fields: Any,
        **field_names: Any,
    ) -> list[Any]:
        """As Django's, and invalidates what the new rows touch."""
        with transaction.atomic(using=self.db, savepoint=False):
            created = super().bulk_create(
                objs, batch_size, ignore_conflicts, update_conflicts, *fields, **field_names
            )
            if len(created) > LARGE_WRITE or update_conflicts:
                touch_kinds(self.model, using=self.db)
                return created
            touched = _rules[self.model].touched(created, False)
            for kind, keys in touched.items():
                if None in keys:  # with ignore_conflicts PostgreSQL does not tell the new keys
                    touched.add_kind(kind)
            touch(touched, self.db)
            return created


TouchingManager = models.Manager.from_queryset(TouchingQuerySet)
