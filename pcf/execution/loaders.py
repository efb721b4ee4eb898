"""Loaders: promise DataLoaders that live for one operation and know who is asking.

When a batch fails, every load of that batch is rejected with its error and forgotten, so a later
load asks again; the fields that waited become errors, the rest of the response stays.
"""

from collections.abc import Hashable, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar

from django.utils.module_loading import import_string
from promise import Promise
from promise.dataloader import DataLoader

from pcf import metrics
from pcf.apps import config
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

    def __init__(
        self, viewer: Viewer, dependencies: Dependencies, arguments: Mapping[str, Any]
    ) -> None:
        super().__init__(max_batch_size=config().loaders.max_batch_size)
        self.viewer = viewer
        self.dependencies = dependencies
        self.arguments = arguments
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
        self.dependencies.add(self.dependency, keys)
        found = self.load_batch(keys)
        return Promise.resolve([found[key] if key in found else self.absent() for key in keys])


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
        key = (name, *sorted(arguments.items()))
        loader = self._made.get(key)
        if loader is None:
            loader_class = find_loader(name)
            loader = loader_class(self._viewer, self._dependencies, arguments)
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
