"""Places: where something is still missing in a response, and who is null if it cannot be had."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from graphql.language import FieldNode
from graphql.pyutils import Path
from graphql.type import GraphQLOutputType
from promise import Promise

from pcf.execution.promises import drain

Complete = Callable[[Any], Any]
NullOrRaise = Callable[[Exception, GraphQLOutputType, list[FieldNode], Path], None]


class Place:
    """A field or a list item whose value is not final.

    Either it waits for a promise itself, or its ``content`` is an object or a list with such places
    inside. Objects and lists go into the response at once and are filled in later, so nothing has
    to wait for its parts.

    A place comes into being from the inside out, and the three steps are taken by those who know:
    what makes it (``__init__``), what completes the value (``locate``), and what makes the object
    or list around it (``put``). Until it is located, an object or a list is under construction;
    the response's root is never located. An ``error`` that reaches one of these is kept there
    for whoever constructs it.
    """

    __slots__ = (
        "content",
        "error",
        "field_nodes",
        "is_abandoned",
        "key",
        "parent",
        "path",
        "return_type",
    )

    return_type: GraphQLOutputType
    field_nodes: list[FieldNode]
    key: Any

    def __init__(self, content: dict[str, Any] | list[Any] | None = None) -> None:
        self.content: Any = content
        self.path: Path | None = None
        self.parent: Place | None = None
        self.is_abandoned = False
        self.error: Exception | None = None

    def locate(
        self, return_type: GraphQLOutputType, field_nodes: list[FieldNode], path: Path
    ) -> None:
        """Say which field or list item this is."""
        self.return_type = return_type
        self.field_nodes = field_nodes
        self.path = path

    def put(self, parent: "Place", key: str | int) -> None:
        """Say where in the content of ``parent`` this is."""
        self.parent = parent
        self.key = key

    def fill(self, value: Any) -> None:
        """Put the value into the response; if it has places itself, it takes over this one."""
        if type(value) is Place:
            value.return_type = self.return_type
            value.field_nodes = self.field_nodes
            value.path = self.path
            value.parent = self.parent
            value.key = self.key
            value = value.content
        if self.parent is not None:
            self.parent.content[self.key] = value

    @property
    def is_pointless(self) -> bool:
        """Whether nobody will see what comes here, since something around it is null already."""
        place: Place | None = self
        while place is not None:
            if place.is_abandoned:
                return True
            place = place.parent
        return False

    def constructed(self) -> "Place":
        """The object or list, now that all of it is begun; raises an error that has reached it.

        That happens when a resolver waits itself (``Promise.get()``, ``run``): promises of the
        fields before it may settle meanwhile.
        """
        if self.error is not None:
            raise self.error
        return self


class _Waiting(NamedTuple):
    """A promise and what is to be done with its value: one entry for each place."""

    promise: Promise
    entries: list[tuple[Place, Complete]]


class Places:
    """All places of an operation that wait for promises.

    ``null_or_raise`` collects an error for a nullable place and raises it for another; ``check`` is
    called between two promise jobs, and what it raises ends the waiting.
    """

    def __init__(self, null_or_raise: NullOrRaise, check: Callable[[], object] | None) -> None:
        self._null_or_raise = null_or_raise
        self._check = check
        # By the promise's id, so that the handlers, which it keeps, do not refer back to it.
        self._waiting: dict[int, _Waiting] = {}
        self._has_abandoned = False

    def wait_for(self, promise: Any, complete: Complete) -> Any:
        """What ``complete`` makes of the promise's value: now, or later in the Place returned.

        Raises TypeError for a coroutine.
        """
        if not isinstance(promise, Promise):
            promise.close()
            raise TypeError(
                f"Execution is synchronous: '{promise.__qualname__}' has to return a value or a"
                " promise, not a coroutine."
            )
        if promise.is_fulfilled:
            return complete(promise.value)
        place = Place()
        key = id(promise)
        waiting = self._waiting.get(key)
        if waiting is not None:  # one pair of handlers a promise: many fields share a loader's
            waiting.entries.append((place, complete))
            return place
        self._waiting[key] = _Waiting(promise, [(place, complete)])
        promise.then(partial(self._on_fulfilled, key), partial(self._on_rejected, key))
        return place

    def abandon(self, place: Place | None) -> None:
        """Give up what is still missing in this place."""
        if place is not None:
            place.is_abandoned = True
            self._has_abandoned = True

    def settle(self, root: Place) -> None:
        """Run promise jobs until nothing is missing below ``root``; raises what reached it."""
        waiting = self._waiting
        while not drain(lambda: not waiting or root.error is not None, self._check):
            self._fail_what_waits_for_ever()
        error, root.error = root.error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback holds this frame

    def close(self) -> None:
        """Forget what waits. Promises that outlive the operation refer to this object, no more."""
        self._waiting.clear()
        del self._null_or_raise
        self._check = None

    def _pop(self, key: int) -> list[tuple[Place, Complete]]:
        waiting = self._waiting.pop(key, None)
        return [] if waiting is None else waiting.entries

    def _on_fulfilled(self, key: int, value: Any) -> None:
        for place, complete in self._pop(key):
            if self._has_abandoned and place.is_pointless:
                continue
            try:
                completed = complete(value)
            except Exception as raw_error:  # noqa: BLE001 - any error of a resolver is a field error
                self._fail(place, raw_error)
            else:
                place.fill(completed)

    def _on_rejected(self, key: int, reason: Exception) -> None:
        for place, _ in self._pop(key):
            if not (self._has_abandoned and place.is_pointless):
                self._fail(place, reason)

    def _fail(self, failed: Place, raw_error: Exception) -> None:
        """Null the nearest nullable place, as raising does while nothing is missing (6.4.4)."""
        place: Place | None = failed
        while place is not None:
            self.abandon(place)
            if place.path is None:  # under construction, or the root: raised there
                place.error = place.error or raw_error
                return
            try:
                self._null_or_raise(raw_error, place.return_type, place.field_nodes, place.path)
            except Exception as error:  # noqa: BLE001 - that error, or what locating it raised
                raw_error = error
                place = place.parent
            else:
                place.fill(None)
                return

    def _fail_what_waits_for_ever(self) -> None:
        reason = RuntimeError(
            "This would wait for ever: the promise is pending and no promise job is left."
        )
        for key in list(self._waiting):
            self._on_rejected(key, reason)
