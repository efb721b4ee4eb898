"""Django 5.2: its request handler, the receivers of its signals, its unapplied migrations.

Undocumented, and used here:

- ``Signal.receivers``, and the receivers that Django connects to ``request_started`` and
  ``request_finished``.
- ``MigrationExecutor``.
- ``BaseHandler``, its ``load_middleware()`` and ``get_response(request)``; Django's WSGI handler
  and its test client derive from it.
- ``ASGIRequest(scope, body_file)``, where ``scope["query_string"]`` may be text.
- ``HttpResponse._handler_class``, the sender of ``request_finished`` when the response closes.
- ``HttpRequest._body`` and ``_stream``, which hold the bytes of a request's body.
"""

from collections.abc import Callable
from io import BytesIO
from typing import Any
from weakref import ReferenceType

from django.core.cache import close_caches
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.base import BaseHandler, reset_urlconf
from django.db import close_old_connections, connection, reset_queries
from django.db.migrations.executor import MigrationExecutor
from django.dispatch import Signal
from django.http import HttpResponseBase

__all__ = [
    "DJANGO_RECEIVERS",
    "ASGIRequest",
    "BaseHandler",
    "SignalReceivers",
    "count_unapplied_migrations",
    "release_body",
    "set_sender",
]

DJANGO_RECEIVERS: frozenset[Callable[..., Any]] = frozenset(
    {close_old_connections, close_caches, reset_queries, reset_urlconf}
)


class SignalReceivers:
    """The receivers of one of Django's request signals; shared by all threads."""

    def __init__(self, signal: Signal) -> None:
        self._signal = signal
        self._seen: list[Any] = []
        self._only_django = False

    @property
    def only_django(self) -> bool:
        """Whether Django alone has connected receivers."""
        entries: list[Any] = self._signal.receivers
        if entries != self._seen:
            seen = list(entries)
            self._only_django = {_receiver(entry[1]) for entry in seen} <= DJANGO_RECEIVERS
            self._seen = seen  # last, because other threads compare with it
        return self._only_django


def release_body(request: ASGIRequest) -> None:
    """Let go of the bytes of the body, after the response is complete.

    A request refers to itself (``request.user``), so it stays until the garbage collector runs.
    """
    request._body = b""  # noqa: SLF001 - documented nowhere
    request._stream = BytesIO()  # noqa: SLF001 - as above


def _receiver(reference: Any) -> Any:
    return reference() if isinstance(reference, ReferenceType) else reference


def count_unapplied_migrations() -> int:
    """Return the number of migrations on disk that the default database has not applied."""
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def set_sender(response: HttpResponseBase, sender: type) -> None:
    """Have ``response`` send ``request_finished`` with this sender when it closes."""
    response._handler_class = sender  # type: ignore[attr-defined]  # noqa: SLF001
