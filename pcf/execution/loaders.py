"""Loaders: promise DataLoaders that live for one operation and know who is asking.

When a batch fails, every load of that batch is rejected with its error and forgotten, so a later
load asks again; the fields that waited become errors, the rest of the response stays.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, NamedTuple

from django.db.models import Model
from django.utils.module_loading import import_string
from promise import Promise
from promise.dataloader import DataLoader, enqueue_post_promise_job
from promise.dataloader import Loader as Waiting

from pcf import metrics
from pcf.apps import config
from pcf.database.ahead import PlannedRead, read_ahead
from pcf.database.statements import current_log
from pcf.execution.dependencies import Dependencies
from pcf.execution.promises import after_jobs, in_scope, take_next
from pcf.tracing import span
from pcf.viewer import Viewer


class Loader(DataLoader):
    """Many keys, one statement.

    A subclass says in ``load_batch`` how a list of keys is fetched, and in ``dependency`` the
    kind under which the keys are recorded as what the response was computed from. What has no
    entry in the mapping that ``load_batch`` returns gets ``absent()``. Keyword arguments of the
    field (``first``, ``after``) are the loader's ``arguments``: loads with other arguments are
    another batch.

    Keys are asked for one by one (``load``) or as a level (``load_level``); what is asked before
    the dispatch is one batch, and what is known is not asked again, whichever way it came.
    """

    dependency: ClassVar[str]
    model: ClassVar[type[Model] | None] = None
    """Of what the values are, if ``load_batch`` heeds ``columns``: None means instances of this
    model, otherwise light rows (``pcf.execution.rows``) with these columns will do."""

    def __init__(
        self,
        viewer: Viewer,
        dependencies: Dependencies,
        arguments: Mapping[str, Any],
        columns: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__(max_batch_size=config().loaders.max_batch_size)
        self.viewer = viewer
        self.dependencies = dependencies
        self.arguments = arguments
        self.columns = columns
        self._queue: list[Waiting] = []
        self._values: dict[Hashable, Any] = {}
        self._wanted: dict[Hashable, None] = {}  # by levels that wait for the dispatch
        self._levels: list[Callable[[Mapping[Any, Any]], None]] = []  # how to settle these
        self._is_dispatching = False  # a dispatch is on its way

    def load_batch(self, keys: Sequence[Any]) -> Mapping[Any, Any]:
        """Fetch ``keys`` (at most ``loaders.max_batch_size``, each once) in one statement."""
        raise AssertionError(f"{type(self).__name__} must say how to load {len(keys)} keys")

    def planned(self, keys: Sequence[Any]) -> PlannedRead | None:
        """The one statement that ``load_batch`` will run for ``keys``, and no other before it; None
        where that cannot be told.
        """
        del keys
        return None

    def absent(self) -> Any:
        """The value of a key that ``load_batch`` found nothing for."""
        return None

    def record(self, keys: Sequence[Any]) -> None:
        """Record ``keys``, which are about to be loaded, as dependencies."""
        self.dependencies.add(self.dependency, keys)

    def load_level(self, keys: Iterable[Hashable]) -> Promise:
        """A promise of a mapping that has the values of ``keys``, and perhaps of others.

        As ``load_many``, but one promise whatever the number of keys. A key that fails has an
        Exception for a value; the promise is not rejected. It is settled already when all is known.
        """
        missing = [key for key in keys if key not in self._values]
        if not missing:
            return Promise.resolve(self._values)
        self._wanted.update(dict.fromkeys(missing))
        promise = Promise(self._add_level)
        self._enqueue_dispatch()
        return promise

    def _add_level(self, resolve: Callable[[Mapping[Any, Any]], None], _reject: object) -> None:
        self._levels.append(resolve)

    def load(self, key: Hashable = None) -> Promise:
        """A promise of the value of ``key``."""
        if key in self._values and key not in self._promise_cache:
            value = self._values[key]
            known = Promise.reject if isinstance(value, Exception) else Promise.resolve
            self._promise_cache[key] = known(value)
        return super().load(key)

    def do_resolve_reject(
        self, key: Hashable, resolve: Callable[[Any], None], reject: Callable[[Exception], None]
    ) -> None:
        """What DataLoader calls for a new load: it waits for the dispatch."""
        self._queue.append(Waiting(key, resolve, reject))
        self._enqueue_dispatch()

    def _enqueue_dispatch(self) -> None:
        if not self._is_dispatching:
            self._is_dispatching = True
            if in_scope():
                after_jobs(self._dispatch)
            else:
                enqueue_post_promise_job(self._dispatch, self._scheduler)

    def _dispatch(self) -> None:
        """Load all that waits, in as many batches as the cap demands, and settle it; so for the
        loaders whose turn is next, since what all of them read can be sent at once.
        """
        due, others = [self._due()], take_next(Loader._dispatch)
        if not others and len(due[0].batches) < 2:  # noqa: PLR2004
            self._settle(due[0])
            return
        due += [loader._due() for loader in others]  # noqa: SLF001
        with read_ahead(_planned(due)):
            for each in due:
                each.loader._settle(each)  # noqa: SLF001

    def _due(self) -> "_Due":
        loads, self._queue = self._queue, []
        wanted, self._wanted = self._wanted, {}
        levels, self._levels = self._levels, []
        self._is_dispatching = False
        wanted.update(dict.fromkeys(load.key for load in loads))
        keys = [key for key in wanted if key not in self._values]
        size = self.max_batch_size
        batches = [keys[first : first + size] for first in range(0, len(keys), size)]
        return _Due(self, loads, levels, batches)

    def _settle(self, due: "_Due") -> None:
        failed: dict[Hashable, Exception] = {}
        for keys in due.batches:
            self._load(keys, failed)
        found = {**self._values, **failed} if failed else self._values
        for load in due.loads:
            value = found[load.key]
            (load.reject if isinstance(value, Exception) else load.resolve)(value)
        for settle in due.levels:
            settle(found)

    def _load(self, keys: list[Hashable], failed: dict[Hashable, Exception]) -> None:
        """One batch: its values become known, or its errors are put into ``failed``.

        When the batch fails as a whole, its keys are forgotten, so that they can be asked again.
        """
        name = type(self).__name__
        _sizes(name).observe(len(keys))
        log = current_log()
        if log is not None:
            log.place = name
        self.record(keys)
        try:
            with span(f"loader {name}", keys=len(keys)):
                found = self.load_batch(keys)
        except Exception as error:  # noqa: BLE001 - any error of a batch is one of its fields
            failed.update(dict.fromkeys(keys, error))
            for key in keys:
                self._promise_cache.pop(key, None)
            return
        values = {key: found[key] if key in found else self.absent() for key in keys}
        if any(issubclass(kind, Exception) for kind in set(map(type, values.values()))):
            failed.update((k, v) for k, v in values.items() if isinstance(v, Exception))
            values = {key: value for key, value in values.items() if key not in failed}
        self._values.update(values)

    def batch_load_fn(self, keys: list[Hashable]) -> Promise:
        """DataLoader's interface; the dispatch here asks ``load_batch`` without a promise."""
        found = self.load_batch(keys)
        return Promise.resolve([found[key] if key in found else self.absent() for key in keys])

    def clear(self, key: Hashable) -> "Loader":
        """Forget the value of ``key``."""
        self._values.pop(key, None)
        super().clear(key)
        return self

    def clear_all(self) -> "Loader":
        """Forget all values."""
        self._values.clear()
        super().clear_all()
        return self

    def prime(self, key: Hashable, value: Any) -> "Loader":
        """Set the value of ``key``, unless it is known or being asked for already."""
        if not (key in self._values or key in self._promise_cache or key in self._wanted):
            self._values[key] = value
        return self


class _Due(NamedTuple):
    """What waits for one loader: single loads, levels, and the batches to be loaded for them."""

    loader: Loader
    loads: list[Waiting]
    levels: list[Callable[[Mapping[Any, Any]], None]]
    batches: list[list[Hashable]]


def _planned(due: Sequence[_Due]) -> list[PlannedRead]:
    """The statements of all batches; none where one of them is not known."""
    try:
        planned = [each.loader.planned(keys) for each in due for keys in each.batches]
    except Exception:  # noqa: BLE001 - loading them fails in the same way, each by itself
        return []
    known = [one for one in planned if one is not None]
    return known if len(known) == len(planned) else []


@cache
def _sizes(name: str) -> Any:
    """The histogram of the batches of the loader called ``name``."""
    return metrics.loader_batch_size.labels(name)


class ListLoader(Loader):
    """A loader whose values are lists: a key that nothing was found for has the empty list."""

    def absent(self) -> list[Any]:
        """An empty list of its own."""
        return []


class Loaders:
    """The loaders of one operation, made when they are first asked for and gone with it."""

    __slots__ = ("_dependencies", "_made", "_viewer")

    def __init__(self, viewer: Viewer, dependencies: Dependencies) -> None:
        self._viewer = viewer
        self._dependencies = dependencies
        self._made: dict[tuple[Hashable, ...], Loader] = {}

    def get(self, name: str, **arguments: Hashable) -> Loader:
        """The loader called ``name`` (``"notes.NotesByAuthor"``) for these arguments."""
        return self._get(name, arguments, None)

    def get_light(
        self, name: str, columns: tuple[str, ...] | None, arguments: Mapping[str, Hashable]
    ) -> Loader:
        """As ``get``, for whoever reads ``columns`` only (None: anything): light rows will do.

        Where there is a loader of instances already, it is that one, which may know them.
        """
        if columns is not None and (name, None, *sorted(arguments.items())) in self._made:
            columns = None
        return self._get(name, arguments, columns)

    def _get(
        self, name: str, arguments: Mapping[str, Hashable], columns: tuple[str, ...] | None
    ) -> Loader:
        key = (name, columns, *sorted(arguments.items()))
        loader = self._made.get(key)
        if loader is None:
            loader_class = find_loader(name)
            loader = loader_class(self._viewer, self._dependencies, arguments, columns)
            self._made[key] = loader
        return loader

    def forget(self) -> None:
        """Start afresh: what was loaded before a write is not what is stored after it."""
        self._made.clear()


@cache
def find_loader(name: str) -> type[Loader]:
    """The class behind ``"app.ClassName"``; loaders live in their app's ``loaders`` module.

    Raises ImportError when there is none.
    """
    app, _, class_name = name.rpartition(".")
    loader_class: type[Loader] = import_string(f"{app}.loaders.{class_name}")
    return loader_class
