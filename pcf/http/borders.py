"""Where a request begins and ends that Django does not see: what its signals are for.

``request_started`` and ``request_finished`` are sent for whoever listens. Where nobody does but
Django itself, what its receivers would do is done without asking them: connections to the database
go back to their pool. The rest is for others' sake: the log of queries (DEBUG alone keeps one), the
URLs that a middleware has changed, caches that close their connections (ours is kept).
"""

from typing import Any
from weakref import ReferenceType

from django.conf import settings
from django.core import signals
from django.core.cache import close_caches
from django.core.handlers.base import reset_urlconf
from django.db import close_old_connections, connections, reset_queries
from django.dispatch import Signal

_DJANGOS = {close_old_connections, close_caches, reset_queries, reset_urlconf}


class Listeners:
    """Who listens to one of Django's signals."""

    def __init__(self, signal: Signal) -> None:
        self._signal = signal
        self._seen: list[Any] = []
        self._only_django = False

    @property
    def only_django(self) -> bool:
        """Whether nobody does but Django."""
        receivers: list[Any] = self._signal.receivers
        if receivers != self._seen:
            seen = list(receivers)
            self._only_django = {_function(entry[1]) for entry in seen} <= _DJANGOS
            self._seen = seen  # last, for other threads
        return self._only_django


def _function(receiver: Any) -> Any:
    return receiver() if isinstance(receiver, ReferenceType) else receiver


_at_start = Listeners(signals.request_started)
_at_end = Listeners(signals.request_finished)


def begin(sender: Any, scope: dict[str, Any]) -> None:
    """A request with this ASGI scope begins in this thread."""
    if settings.DEBUG or not _at_start.only_django:
        signals.request_started.send(sender=sender, scope=scope)


def end(sender: Any) -> None:
    """It is over."""
    if settings.DEBUG or not _at_end.only_django:
        signals.request_finished.send(sender=sender)
        return
    for connection in connections.all(initialized_only=True):
        connection.close_if_unusable_or_obsolete()
