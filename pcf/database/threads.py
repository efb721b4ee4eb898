"""Threads that work for a request and ask the database."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from django.db import connections

from pcf.timeouts import carried

P = ParamSpec("P")
T = TypeVar("T")


def for_thread(function: Callable[P, T]) -> Callable[P, T]:
    """``function``, to be called in a thread that a request started.

    It runs under the request's deadline, and its statements are counted with the request's. At its
    end the connections that the thread took go back to the pool, also when it fails: a thread that
    ended with one would keep it for ever. A thread takes connections of its own, so it does not
    see what an open transaction of the request has written.

    Loaders and promises are not for threads: they belong to the thread that executes the operation.
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        finally:
            connections.close_all()

    return carried(run)
