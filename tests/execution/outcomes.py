"""The behaviour of resolvers as data, and its delivery to an executor.

An ``Outcome`` is the result of a field, of a list item, or of a question about a type. A ``Step``
adds the time of the outcome. A ``Delivery`` decides what a later outcome is. So one executor gets
promises, another one coroutines, and a third one plain values, all with the same steps.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, Self
from zlib import crc32

from graphql import GraphQLError
from promise import Promise
from promise.dataloader import DataLoader


class Odd:
    """A value that no scalar serialises, no list iterates over, and no type accepts."""

    def __repr__(self) -> str:
        return "<odd>"


ODD = Odd()


@dataclass
class Source:
    """The value of an object. ``is_type_of`` and ``resolve_type`` read its ``type_name``.

    ``attributes`` holds what the default resolver reads: values, methods and properties.
    """

    type_name: Any
    attributes: "dict[str, Attribute]" = field(default_factory=dict, repr=False)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name not in self.attributes:
            raise AttributeError(name)
        return self.attributes[name].read()


class NamedSource(Source):
    """A value with a ``__typename`` for graphql-core's default type resolver."""

    def __init__(self, type_name: str, attributes: "dict[str, Attribute] | None" = None) -> None:
        super().__init__(type_name, attributes or {})
        self.__typename = type_name


class MappingSource(dict[str, Any]):
    """A dictionary as the value of an object; the default resolver reads its entries."""

    def __init__(self, type_name: str, attributes: "dict[str, Attribute]") -> None:
        super().__init__(__typename=type_name)
        self.type_name = type_name
        self._attributes = attributes

    def get(self, name: str, default: Any = None) -> Any:
        if name in self._attributes and self._attributes[name].kind != "property":
            return self._attributes[name].read()
        return super().get(name, default)


class Failure(Exception):
    """An error of the application."""


@dataclass(frozen=True)
class Value:
    """A value, valid or invalid for the type; None is null."""

    value: Any


@dataclass(frozen=True)
class Raises:
    """An error that the resolver raises, or returns as a value (``returned``)."""

    kind: type[Exception]
    message: str
    returned: bool = False

    def error(self) -> Exception:
        """Return a new error, as each raise makes its own."""
        return self.kind(self.message)


@dataclass(frozen=True)
class Echo:
    """The arguments of the resolver, as a string."""


@dataclass(frozen=True)
class Count:
    """The number of ``Count`` outcomes so far (``writes``), or that number as it is."""

    writes: bool


@dataclass(frozen=True)
class Items:
    """An iterable whose items have steps. A generator raises what its items raise."""

    kind: str
    items: tuple["Step", ...]


Outcome = Value | Raises | Echo | Count | Items


@dataclass(frozen=True)
class Layer:
    """Middleware that changes the fields at some paths, and passes the others on."""

    kind: str
    remainder: int

    def resolve(self, following: Any, root: Any, info: Any, **arguments: Any) -> Any:
        """Resolve a field, as graphql-core's MiddlewareManager calls it."""
        if crc32(repr(info.path.as_list()).encode()) % 3 != self.remainder:
            return following(root, info, **arguments)
        if self.kind == "raises":
            raise Failure("middleware")
        if self.kind == "returns":
            return None
        if self.kind == "drops":
            return following(root, info)
        value = following(root, info, **arguments)
        return value.upper() if type(value) is str else value


LAYERS = ("raises", "returns", "drops", "changes")


@dataclass(frozen=True)
class Attribute:
    """What the default resolver finds: a value, a method, or a property that may raise."""

    kind: str
    outcome: "Value | Raises"

    def read(self) -> Any:
        """Return the attribute, as ``getattr`` does."""
        if self.kind == "method":
            return self._call
        return self._call(None) if self.kind == "property" else self._value()

    def _value(self) -> Any:
        return self.outcome.error() if isinstance(self.outcome, Raises) else self.outcome.value

    def _call(self, _info: Any, **arguments: Any) -> Any:
        if isinstance(self.outcome, Raises):
            raise self.outcome.error()
        return repr(arguments) if arguments else self.outcome.value


@dataclass(frozen=True)
class Step:
    """An outcome, at once (``turns`` is None) or after a number of turns."""

    outcome: Outcome
    turns: int | None = None


class Delivery(Protocol):
    """The form of a later outcome. ``count`` is that of ``Count``, for one operation."""

    count: int

    def later(self, produce: Callable[[], Any], turns: int) -> Any:
        """Return an object that becomes the result of ``produce``."""


class AtOnce:
    """A delivery without later outcomes."""

    def __init__(self) -> None:
        self.count = 0

    def later(self, produce: Callable[[], Any], turns: int) -> Any:
        del turns
        return produce()


class AsCoroutine:
    """A delivery of coroutines, for graphql-core's executor in an event loop.

    graphql-core does not await the coroutines beside one that fails. The end of the block closes
    them, so that Python does not warn in a later test.
    """

    def __init__(self) -> None:
        self.count = 0
        self._made: list[Any] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for coroutine in self._made:
            coroutine.close()

    def later(self, produce: Callable[[], Any], turns: int) -> Any:
        coroutine = self._later(produce, turns)
        self._made.append(coroutine)
        return coroutine

    async def _later(self, produce: Callable[[], Any], turns: int) -> Any:
        for _ in range(turns):
            await asyncio.sleep(0)
        return produce()


class AsPromise:
    """A delivery of settled promises (no turns) and of chained loads of a DataLoader.

    Each operation needs its own delivery, as it needs its own loaders.
    """

    def __init__(self) -> None:
        self.count = 0
        self._loader = _Producing()

    def later(self, produce: Callable[[], Any], turns: int) -> Any:
        if turns == 0:
            return Promise(lambda resolve, _reject: resolve(produce()))
        if turns == 1:
            return self._loader.load(produce)
        return self._loader.load(lambda: None).then(lambda _: self.later(produce, turns - 1))


class _Producing(DataLoader):
    """A loader whose keys are functions. The batch calls each of them."""

    cache = False

    def batch_load_fn(self, keys: list[Callable[[], Any]]) -> Promise:
        return Promise.resolve([_value_or_error(produce) for produce in keys])


def _value_or_error(produce: Callable[[], Any]) -> Any:
    try:
        return produce()
    except Exception as error:  # noqa: BLE001 - DataLoader's way to reject one key
        return error


def play(step: Step, delivery: Delivery, arguments: dict[str, Any]) -> Any:
    """Return what a resolver with this step returns; raise an error that is not delayed."""

    def produce() -> Any:
        return _produce(step.outcome, delivery, arguments)

    return produce() if step.turns is None else delivery.later(produce, step.turns)


def _produce(outcome: Outcome, delivery: Delivery, arguments: dict[str, Any]) -> Any:
    if isinstance(outcome, Raises):
        if outcome.returned:
            return outcome.error()
        raise outcome.error()
    if isinstance(outcome, Echo):
        return repr(arguments)
    if isinstance(outcome, Count):
        delivery.count += outcome.writes
        return delivery.count
    if isinstance(outcome, Items):
        if outcome.kind == "generator":
            return _generate(outcome, delivery, arguments)
        return ITERABLES[outcome.kind]([_item(i, delivery, arguments) for i in outcome.items])
    return outcome.value


def _generate(items: Items, delivery: Delivery, arguments: dict[str, Any]) -> Iterator[Any]:
    for item in items.items:
        yield play(item, delivery, arguments)


def _item(item: Step, delivery: Delivery, arguments: dict[str, Any]) -> Any:
    """Return an item of an existing list. It cannot raise, but it can be an error."""
    if isinstance(item.outcome, Raises) and item.turns is None:
        return item.outcome.error()
    return play(item, delivery, arguments)


ERRORS: tuple[type[Exception], ...] = (Failure, ValueError, KeyError, GraphQLError, StopIteration)

ITERABLES: dict[str, Callable[[list[Any]], Any]] = {
    "list": list,
    "tuple": tuple,
    "deque": deque,
    "values": lambda items: dict(enumerate(items)).values(),
    "iterator": iter,
}
