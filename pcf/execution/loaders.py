"""Loaders: promise DataLoaders that live for one operation and know who is asking.

When a batch fails, every load of that batch is rejected with its error and forgotten, so a later
load asks again; the fields that waited become errors, the rest of the response stays.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cache, partial
from typing import Any, ClassVar

from django.db.models import Model
from django.utils.module_loading import import_string
from promise import Promise
from promise.dataloader import DataLoader

from pcf import metrics
from pcf.apps import config
from pcf.database.statements import current_log
from pcf.execution.dependencies import Dependencies
from pcf.viewer import Viewer


class Loader(DataLoader):
    """Many keys, one statement.

    A subclass says in ``load_batch`` how a list of keys is fetched, and in ``dependency`` the
    kind under which the keys are recorded as what the response was computed from. What has no
    entry in the mapping that ``load_batch`` returns gets ``absent()``. Keyword arguments of the
    field (``first``, ``after``) are the loader's ``arguments``: loads with other arguments are
    another batch.
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
        self._values: dict[Hashable, Any] = {}  # what levels have loaded
        self._levels: dict[Hashable, list[_Level]] = {}  # that wait, by the keys they wait for
        name = type(self).__name__
        self._batch_size = metrics.loader_batch_size.labels(name)
        self._batches = metrics.loader_batches.labels(name)
        self._loads = metrics.loader_loads.labels(name)

    def load_batch(self, keys: Sequence[Any]) -> Mapping[Any, Any]:
        """Fetch ``keys`` (at most ``loaders.max_batch_size``, each once) in one statement."""
        raise AssertionError(f"{type(self).__name__} must say how to load {len(keys)} keys")

    def absent(self) -> Any:
        """The value of a key that ``load_batch`` found nothing for."""
        return None

    def batch_load_fn(self, keys: list[Hashable]) -> Promise:
        """What promise's DataLoader calls: a promise of the values in the order of ``keys``."""
        self._batch_size.observe(len(keys))
        self._batches.inc()
        self._loads.inc(len(keys))
        log = current_log()
        if log is not None:
            log.place = type(self).__name__
        self.dependencies.add(self.dependency, keys)
        found = self.load_batch(keys)
        return Promise.resolve([found[key] if key in found else self.absent() for key in keys])

    def load_level(self, keys: Sequence[Hashable]) -> Promise:
        """One promise of the values of ``keys``, in their order, each given once.

        As ``load_many``, but without a promise for every key. What was loaded or primed before is
        not asked again, what waits for the next batch already is asked once, and the rest joins
        that batch. A key that fails is an Exception among the values; the level is not rejected.
        """
        level = _Level(keys)
        for key in keys:
            if key in self._values:
                level.set(key, self._values[key])
            elif key in self._promise_cache:
                promise = self._promise_cache[key]
                promise.then(partial(level.set, key), partial(level.set, key))
            elif key in self._levels:
                self._levels[key].append(level)
            else:
                self._levels[key] = [level]
                settle = partial(self._settle, key)
                self.do_resolve_reject(key, settle, settle)
        return level.promise

    def load(self, key: Hashable = None) -> Promise:
        """As DataLoader's, knowing what levels have loaded and wait for."""
        if key in self._values:
            return Promise.resolve(self._values[key])
        if key in self._levels:
            return self.load_level([key]).then(_only)
        return super().load(key)

    def _settle(self, key: Hashable, value: Any) -> None:
        """The value of a key, or its error, which the next load is not to find."""
        if not isinstance(value, Exception):
            self._values[key] = value
        for level in self._levels.pop(key, ()):
            level.set(key, value)

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
        """Set the value of ``key``, unless it is known already."""
        if key not in self._values and key not in self._levels:
            super().prime(key, value)
        return self


class _Level:
    """The keys of one level, and the promise of their values."""

    __slots__ = ("_keys", "_resolve", "_values", "promise")

    def __init__(self, keys: Sequence[Hashable]) -> None:
        self._keys = keys
        self._values: dict[Hashable, Any] = {}
        self.promise = Promise(self._begin)
        if not keys:
            self._resolve([])

    def _begin(self, resolve: Callable[[list[Any]], None], _reject: object) -> None:
        self._resolve = resolve

    def set(self, key: Hashable, value: Any) -> None:
        """Note the value or the error of a key; the last one settles the promise."""
        self._values[key] = value
        if len(self._values) == len(self._keys):
            self._resolve([self._values[key] for key in self._keys])


def _only(values: list[Any]) -> Any:
    if isinstance(values[0], Exception):
        raise values[0]
    return values[0]


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

    def get_light(self, name: str, columns: tuple[str, ...], **arguments: Hashable) -> Loader:
        """As ``get``, for whoever reads ``columns`` only: light rows will do.

        Where there is a loader of instances already, it is that one, which may know them.
        """
        if (name, None, *sorted(arguments.items())) in self._made:
            return self._get(name, arguments, None)
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
