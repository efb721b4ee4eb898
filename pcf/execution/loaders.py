"""Loaders: promise-based DataLoaders that serve one operation and one viewer.

A loader has the methods of promise's DataLoader, and dispatches its batches by promise's queue of
jobs. It is no subclass: promise's DataLoader is a ``threading.local``, whose attributes take six
times as long to read. A loader belongs to the thread or greenlet that executes the operation.

When a batch fails, the loader rejects each load of that batch with the error and forgets its keys.
A later load of such a key asks again. The fields that waited for the batch become errors, and the
rest of the response stays.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import cache, partial
from typing import Any, ClassVar, NamedTuple

from django.db.models import Model
from django.utils.module_loading import import_string
from promise import Promise

from pcf._compat.promise import enqueue_after_jobs, pop_next_methods
from pcf.conf import config
from pcf.database.planned_reads import PlannedRead, pipelined
from pcf.database.query_log import current_log, declared_reads
from pcf.database.snapshots import current_snapshot
from pcf.execution.dependencies import Dependencies
from pcf.lru import for_each_class
from pcf.observability import metrics
from pcf.observability.tracing import span
from pcf.viewer import Viewer

Values = Mapping[Any, Any]


class KeyBatch(list[Any]):
    """The keys of one batch, with the statement that fetches them, if the loader has planned it.

    ``have_type`` says that all are keys as they are, which need no conversion.
    """

    planned: PlannedRead | None = None
    have_type = False


class Loader:
    """A loader: it collects keys, and fetches many keys with one statement.

    A subclass defines ``load_batch``, which fetches a list of keys. A key that is missing in the
    result of ``load_batch`` gets ``default_value()``. A subclass also defines ``dependency``: the
    loader records its keys under this kind, as dependencies of the response. The keyword arguments
    of the field (``first``, ``after``) are the loader's ``arguments``. Loads with other arguments
    belong to another loader, so to another batch.

    ``load`` asks for one key, ``load_many`` for several, ``load_level`` for the keys of a level.
    All keys that they ask for before the dispatch are one batch. The loader asks for each key once.

    Attributes:
        shared: What the loaders of one operation have found out for each other, until a write.
    """

    dependency: ClassVar[str]
    waits_for_database_only: ClassVar[bool | None] = None
    """Whether ``load_batch`` waits for nothing but PostgreSQL. None means that it does where it is
    the engine's own. The engine answers short queries with such loaders on the event loop."""
    model: ClassVar[type[Model] | None] = None
    """The model of the values, for a loader whose ``load_batch`` honours ``columns``: None means
    instances of the model, other columns mean light rows (``pcf.execution.rows``)."""

    def __init__(
        self,
        viewer: Viewer,
        dependencies: Dependencies,
        arguments: Mapping[str, Any],
        columns: tuple[str, ...] | None = None,
    ) -> None:
        self.viewer = viewer
        self.dependencies = dependencies
        self.arguments = arguments
        self.columns = columns
        self.shared: dict[Hashable, Any] = {}
        self._values: dict[Hashable, Any] = {}
        self._promises: dict[Hashable, Promise] = {}  # by the keys that ``load`` was called for
        self._offered: dict[Hashable, Any] = {}
        # what waits for the dispatch
        self._loads: list[_Load] = []
        self._level_keys: dict[Hashable, None] = {}
        self._level_callbacks: list[Callable[[Values], None]] = []
        self._is_dispatch_enqueued = False

    # -- for subclasses -------------------------------------------------------------------------

    def load_batch(self, keys: Sequence[Any]) -> Values:
        """Fetch ``keys`` (distinct, at most ``loaders.max_batch_size``) with one statement."""
        raise AssertionError(f"{type(self).__name__} must define load_batch for {len(keys)} keys")

    def planned_read(self, keys: Sequence[Any]) -> PlannedRead | None:
        """Return the statement that ``load_batch`` runs first for ``keys``.

        Returns None when the loader cannot tell, or runs more than one statement.
        """
        del keys
        return None

    def default_value(self) -> Any:
        """Return the value of a key that ``load_batch`` has not found."""
        return None

    def record(self, keys: Sequence[Any]) -> None:
        """Record ``keys`` as dependencies. The loader calls this method before ``load_batch``."""
        self.dependencies.add(self.dependency, keys)

    # -- for callers ----------------------------------------------------------------------------

    def load_level(
        self, keys: Iterable[Hashable], on_loaded: Callable[[Values], None]
    ) -> Values | None:
        """Return a mapping that holds the values of ``keys``, and maybe of others.

        When the loader does not know all values, the method returns None, and the dispatch passes
        the mapping to ``on_loaded``. The mapping holds an Exception for a key that fails.
        """
        if self._offered:
            self._accept(keys)
        values = self._values
        missing = [key for key in keys if key not in values] if values else list(keys)
        if not missing:
            return values
        self._level_keys.update(dict.fromkeys(missing))
        self._level_callbacks.append(on_loaded)
        self._enqueue_dispatch()
        return None

    def load(self, key: Hashable = None) -> Promise:
        """Return a promise of the value of ``key``. Raises TypeError for None as the key."""
        if key is None:
            raise TypeError("Loader.load() takes a key, not None")
        promise = self._promises.get(key)
        if promise is None:
            if key in self._values:
                value = self._values[key]
                settle = Promise.reject if isinstance(value, Exception) else Promise.resolve
                promise = settle(value)
            else:
                promise = Promise(partial(self._add_load, key))
            self._promises[key] = promise
        return promise

    def load_many(self, keys: Iterable[Hashable]) -> Promise:
        """Return a promise of the list of the values of ``keys``."""
        return Promise.all([self.load(key) for key in keys])

    def clear(self, key: Hashable) -> "Loader":
        """Forget the value of ``key``."""
        self._values.pop(key, None)
        self._offered.pop(key, None)
        self._promises.pop(key, None)
        return self

    def clear_all(self) -> "Loader":
        """Forget all values."""
        self._values.clear()
        self._offered.clear()
        self._promises.clear()
        return self

    def prime(self, key: Hashable, value: Any) -> "Loader":
        """Set the value of ``key``, unless the loader knows it or has been asked for it."""
        if not (key in self._values or key in self._promises or key in self._level_keys):
            self._values[key] = value
        return self

    def offer(self, values: Values) -> None:
        """Keep values that another loader has fetched, for a level that asks for their keys.

        None stands for a key without a value. The response depends on a value from the moment at
        which a level asks for it.
        """
        self._offered.update(values)

    def _accept(self, keys: Iterable[Hashable]) -> None:
        """Take the offered values of ``keys``."""
        offered, values = self._offered, self._values
        accepted = [key for key in keys if key in offered and key not in values]
        if accepted:
            self.record_accepted(accepted)
            for key in accepted:
                value = offered[key]
                values[key] = self.default_value() if value is None else value

    def record_accepted(self, keys: Sequence[Any]) -> None:
        """Record ``keys`` whose values another loader has fetched."""
        self.record(keys)

    # -- the dispatch ---------------------------------------------------------------------------

    def _add_load(
        self, key: Hashable, resolve: Callable[[Any], None], reject: Callable[[Exception], None]
    ) -> None:
        self._loads.append(_Load(key, resolve, reject))
        self._enqueue_dispatch()

    def _enqueue_dispatch(self) -> None:
        if not self._is_dispatch_enqueued:
            self._is_dispatch_enqueued = True
            enqueue_after_jobs(self._dispatch)

    def _dispatch(self) -> None:
        """Load everything that waits for this loader, in batches of a bounded size.

        The dispatch includes the loaders whose dispatch is next in the job queue. So the database
        connection can send the statements of all these loaders at once.
        """
        dispatches = [self._take_dispatch()]
        others = pop_next_methods(Loader._dispatch)
        if not others and len(dispatches[0].batches) < 2:  # noqa: PLR2004
            snapshot = current_snapshot()
            if snapshot is not None and snapshot.is_last:  # a batch that is planned reads once
                snapshot.is_last = bool(_plan_reads(dispatches))
            self._run_dispatch(dispatches[0])
            return
        dispatches += [loader._take_dispatch() for loader in others]  # noqa: SLF001
        with pipelined(_plan_reads(dispatches)):
            for dispatch in dispatches:
                dispatch.loader._run_dispatch(dispatch)  # noqa: SLF001

    def _take_dispatch(self) -> "_Dispatch":
        loads, self._loads = self._loads, []
        keys, self._level_keys = self._level_keys, {}
        callbacks, self._level_callbacks = self._level_callbacks, []
        self._is_dispatch_enqueued = False
        if loads:
            keys.update(dict.fromkeys([load.key for load in loads]))
        values = self._values
        unknown = KeyBatch([key for key in keys if key not in values] if values else keys)
        batches = [unknown] if unknown else []
        size = config().loaders.max_batch_size
        if len(unknown) > size:
            starts = range(0, len(unknown), size)
            batches = [KeyBatch(unknown[start : start + size]) for start in starts]
        return _Dispatch(self, loads, callbacks, batches)

    def _run_dispatch(self, dispatch: "_Dispatch") -> None:
        failed: dict[Hashable, Exception] = {}
        for keys in dispatch.batches:
            self._run_batch(keys, failed)
        values = {**self._values, **failed} if failed else self._values
        for load in dispatch.loads:
            value = values[load.key]
            (load.reject if isinstance(value, Exception) else load.resolve)(value)
        for on_loaded in dispatch.level_callbacks:
            on_loaded(values)

    def _run_batch(self, keys: KeyBatch, failed: dict[Hashable, Exception]) -> None:
        """Load one batch. Its errors go into ``failed``.

        The loader forgets the keys of a batch that fails as a whole, so that it can load them anew.
        """
        name = type(self).__name__
        _batch_sizes(name).observe(len(keys))
        log = current_log()
        if log is not None:
            log.place = name
        self.record(keys)
        try:
            with span(f"loader {name}", keys=len(keys)):
                found = self._load_declared(keys)
        except Exception as error:  # noqa: BLE001 - any error of a batch is an error of its fields
            failed.update(dict.fromkeys(keys, error))
            for key in keys:
                self._promises.pop(key, None)
            return
        values = found
        if found.keys() != set(keys):
            default = self.default_value
            values = {key: found[key] if key in found else default() for key in keys}
        if any(map(_is_error, set(map(type, values.values())))):
            failed.update((k, v) for k, v in values.items() if isinstance(v, Exception))
            values = {key: value for key, value in values.items() if key not in failed}
        self._values.update(values)

    def _load_declared(self, keys: KeyBatch) -> Values:
        """Call ``load_batch``; what its statements read is declared by the loader's keys."""
        with declared_reads():
            return self.load_batch(keys)


@for_each_class
def _is_error(type_: type) -> bool:
    return issubclass(type_, Exception)


class _Load(NamedTuple):
    """A call of ``load`` that waits for the dispatch."""

    key: Hashable
    resolve: Callable[[Any], None]
    reject: Callable[[Exception], None]


class _Dispatch(NamedTuple):
    """The loads and levels that waited for one loader, and the batches that serve both."""

    loader: Loader
    loads: list[_Load]
    level_callbacks: list[Callable[[Values], None]]
    batches: list[KeyBatch]


def _plan_reads(dispatches: Sequence[_Dispatch]) -> list[PlannedRead]:
    """Plan the statements of all batches, and return them.

    Returns no statements when one of the batches has no planned read.
    """
    try:
        for dispatch in dispatches:
            for batch in dispatch.batches:
                batch.planned = dispatch.loader.planned_read(batch)
    except Exception:  # noqa: BLE001 - the batch itself raises the same error to its own fields
        return []
    batches = [batch for dispatch in dispatches for batch in dispatch.batches]
    reads = [batch.planned for batch in batches if batch.planned is not None]
    return reads if len(reads) == len(batches) else []


@cache
def _batch_sizes(name: str) -> Any:
    """Return the histogram of the batches of the loader called ``name``."""
    return metrics.loader_batch_size.labels(name)


class ListLoader(Loader):
    """A loader whose values are lists: a key without rows has an empty list."""

    def default_value(self) -> list[Any]:
        """Return a new empty list."""
        return []


class Loaders:
    """The loaders of one operation, each made at its first use."""

    __slots__ = ("_dependencies", "_loaders", "_shared", "_viewer")

    def __init__(self, viewer: Viewer, dependencies: Dependencies) -> None:
        self._viewer = viewer
        self._dependencies = dependencies
        self._loaders: dict[tuple[Hashable, ...], Loader] = {}
        self._shared: dict[Hashable, Any] = {}

    def get(self, name: str, /, **arguments: Hashable) -> Loader:
        """Return the loader called ``name`` (``"notes.NotesByAuthor"``) for these arguments."""
        return self._get(name, arguments, (name, None, *sorted(arguments.items())))

    def get_light(
        self,
        name: str | type[Loader],
        columns: tuple[str, ...] | None,
        arguments: Mapping[str, Hashable],
    ) -> Loader:
        """Return a loader for a caller that reads no more than ``columns`` (None: any attribute).

        The values may be light rows. When the operation already has the loader of instances, the
        method returns that one, which may know the values.
        """
        given = sorted(arguments.items()) if arguments else ()
        if columns is not None and (name, None, *given) in self._loaders:
            columns = None
        return self._get(name, arguments, (name, columns, *given))

    def _get(
        self, name: str | type[Loader], arguments: Mapping[str, Hashable], key: tuple[Any, ...]
    ) -> Loader:
        """Return the loader with ``key``: its name, its columns and its arguments in order."""
        loader = self._loaders.get(key)
        if loader is None:
            loader_class = find_loader(name)  # type: ignore[arg-type]  # a class has a hash
            loader = loader_class(self._viewer, self._dependencies, arguments, key[1])
            loader.shared = self._shared
            self._loaders[key] = loader
        return loader

    def clear(self) -> None:
        """Drop all loaders, because a write has made their values stale."""
        self._loaders.clear()
        self._shared = {}


@cache
def find_loader(name: str | type[Loader]) -> type[Loader]:
    """Return the class ``app.loaders.ClassName`` for the name ``"app.ClassName"``.

    A class stands for itself. Raises ImportError when the class does not exist.
    """
    if isinstance(name, type):
        return name
    app, _, class_name = name.rpartition(".")
    loader_class: type[Loader] = import_string(f"{app}.loaders.{class_name}")
    return loader_class
