"""Django 5.2, asgiref 3, promise 2.3 and asyncio: what they keep for a thread.

Several requests that take turns in one thread must not share these variables. Undocumented, and
used here:

* ``django.db.connections._connections``: an ``asgiref.local.Local`` with the connections of a
  thread. A thread-critical ``Local`` keeps them in a ``threading.local`` called ``_storage``, in a
  thread without a running event loop.
* ``promise.promise.async_instance``: a ``threading.local`` with the queue of promise jobs.
* ``asyncio._get_running_loop`` and ``_set_running_loop``: an event loop calls them around its run.
  Django refuses to use a database in a thread with a running loop.

``allow_thread_sharing`` and ``inc_thread_sharing`` of Django's connections are documented nowhere,
too: Django's test server shares connections by them.

``tests/compat/test_thread_variables.py`` fails when one of them changes.
"""

from asyncio import _get_running_loop, _set_running_loop
from collections.abc import Callable
from typing import Any, TypeVar

from django.db import connections
from promise.promise import Async, async_instance

T = TypeVar("T")

_connections: Any = connections._connections._storage  # type: ignore[attr-defined]  # noqa: SLF001


class ThreadVariables:
    """The variables of a thread for one of the requests that take turns in it.

    The request sees no running event loop.
    """

    __slots__ = ("_connections", "_loop", "_promises")

    def __init__(self) -> None:
        """Begin with the variables of a thread that has done nothing yet."""
        self._connections: dict[str, Any] = {}
        self._promises: dict[str, Any] = vars(Async()).copy()
        self._loop: Any = None

    def exchange(self) -> None:
        """Exchange these variables with those that the thread has now."""
        current = vars(_connections)
        if current or self._connections:
            before = current.copy()
            current.clear()
            current.update(self._connections)
            self._connections = before
        current = vars(async_instance)
        before = current.copy()
        current.update(self._promises)  # all threads have the same names
        self._promises = before
        loop = _get_running_loop()
        _set_running_loop(self._loop)
        self._loop = loop

    def call(self, function: Callable[[], T]) -> T:
        """Return what ``function`` returns in this thread, with these variables.

        The request waits meanwhile. So its database connections have one user at a time.
        """
        self._share_connections()
        self.exchange()
        try:
            return function()
        finally:
            self.exchange()
            self._share_connections()

    def _share_connections(self) -> None:
        """Let all threads use the database connections."""
        for connection in self._connections.values():
            if not connection.allow_thread_sharing:
                connection.inc_thread_sharing()
