"""What a resolver does, as data, and the ways in which it can be handed to an executor.

An ``Outcome`` says what comes of a field, a list item, or a question about a type; a ``Step`` adds
when. How "later" looks is up to a ``Delivery``: with the same steps, one executor gets promises,
another one coroutines, a third one plain values.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, Self

from graphql import GraphQLError
from promise import Promise
from promise.dataloader import DataLoader


class Odd:
    """No scalar serialises it, no list iterates over it, no type claims it."""

    def __repr__(self) -> str:
        return "<odd>"


ODD = Odd()


@dataclass
class Source:
    """The value behind an object; ``is_type_of`` and ``resolve_type`` go by its ``type_name``."""

    type_name: Any


class NamedSource(Source):
    """A value that graphql-core's default type resolver knows by its ``__typename``."""

    def __init__(self, type_name: str) -> None:
        super().__init__(type_name)
        self.__typename = type_name


class Failure(Exception):
    """An error of the application's own."""


@dataclass(frozen=True)
class Value:
    """A value as it is, right or wrong for the type; None is null."""

    value: Any


@dataclass(frozen=True)
class Raises:
    """An error: raised, or (``returned``) given back as a value."""

    kind: type[Exception]
    message: str
    returned: bool = False

    def error(self) -> Exception:
        """A fresh one, as every raise makes its own."""
        return self.kind(self.message)


@dataclass(frozen=True)
class Echo:
    """The arguments the resolver was called with, as a string."""


@dataclass(frozen=True)
class Items:
    """An iterable, each item with a step of its own; a generator raises what its items raise."""

    kind: str
    items: tuple["Step", ...]


Outcome = Value | Raises | Echo | Items


@dataclass(frozen=True)
class Step:
    """An outcome: at once (``turns`` is None), or after so many turns of waiting."""

    outcome: Outcome
    turns: int | None = None


class Delivery(Protocol):
    """How what comes later is handed over."""

    def later(self, produce: Callable[[], Any], turns: int) -> Any:
        """Something that becomes what ``produce`` returns or raises."""


class AtOnce:
    """Nothing comes later."""

    def later(self, produce: Callable[[], Any], turns: int) -> Any:
        del turns
        return produce()


class AsCoroutine:
    """For graphql-core's executor in an event loop. It leaves coroutines beside one that fails:
    these are closed at the end of the block, or Python would warn in whichever test is next.
    """

    def __init__(self) -> None:
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
    """Settled promises (no turns) and promises of a DataLoader, one load after the other.

    Made for one operation, as loaders are.
    """

    def __init__(self) -> None:
        self._loader = _Producing()

    def later(self, produce: Callable[[], Any], turns: int) -> Any:
        if turns == 0:
            return Promise(lambda resolve, _reject: resolve(produce()))
        if turns == 1:
            return self._loader.load(produce)
        return self._loader.load(lambda: None).then(lambda _: self.later(produce, turns - 1))


class _Producing(DataLoader):
    """Its keys are functions; each is called in the batch."""

    cache = False

    def batch_load_fn(self, keys: list[Callable[[], Any]]) -> Promise:
        return Promise.resolve([_value_or_error(produce) for produce in keys])


def _value_or_error(produce: Callable[[], Any]) -> Any:
    try:
        return produce()
    except Exception as error:  # noqa: BLE001 - DataLoader's way to reject one key
        return error


def play(step: Step, delivery: Delivery, arguments: dict[str, Any]) -> Any:
    """What a resolver with this step returns; raises if the outcome is to raise at once."""

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
    if isinstance(outcome, Items):
        if outcome.kind == "generator":
            return _generate(outcome, delivery, arguments)
        items = [_item(item, delivery, arguments) for item in outcome.items]
        return tuple(items) if outcome.kind == "tuple" else items
    return outcome.value


def _generate(items: Items, delivery: Delivery, arguments: dict[str, Any]) -> Iterator[Any]:
    for item in items.items:
        yield play(item, delivery, arguments)


def _item(item: Step, delivery: Delivery, arguments: dict[str, Any]) -> Any:
    """An item of a list that is there already: it cannot raise, but it can be an error."""
    if isinstance(item.outcome, Raises) and item.turns is None:
        return item.outcome.error()
    return play(item, delivery, arguments)


ERRORS: tuple[type[Exception], ...] = (Failure, ValueError, KeyError, GraphQLError)
