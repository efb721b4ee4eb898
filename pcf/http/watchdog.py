"""The last line of the HTTP deadline: it holds whatever the thread that answers is doing.

Everything that waits has a bound of its own. What is left are threads that are not heard of: a
resolver that computes without end, a client that sends its request a byte at a time, or does not
read its response. A thread cannot be stopped safely from outside (an exception raised in it could
leave a lock of the logging or of an import held for ever), but its socket can be taken from it.

=================================  ===============================================================
when time is up and the thread ..  the watchdog
=================================  ===============================================================
waits for the request's head       hangs up
reads the body                     ends the body, so that the thread goes on and refuses it (408)
works                              answers in its place (504) and hangs up; the thread's own answer
                                   finds nobody, and until it comes the thread is not free
writes the response                hangs up, which ends the writing
=================================  ===============================================================

When the watchdog itself fails it is logged, and that connection is left to the thread alone.
"""

import logging
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context, ContextVar, copy_context
from ssl import SSLSocket
from threading import Event, Lock, Thread, get_ident
from time import monotonic
from typing import Self

TICK = 0.05  # seconds between two looks while requests are under way
GRACE = 1.0  # seconds to refuse a request whose body did not come in time
_FRAMES = 12  # of a busy thread's stack, in the log

logger = logging.getLogger("pcf.http")

LastWord = Callable[[], bytes]
GetSocket = Callable[[], socket.socket]


class Watch:
    """One request of one thread, from the wait for its head to the last byte of its response."""

    def __init__(self, dog: "Watchdog", get_socket: GetSocket, seconds: float) -> None:
        """``get_socket`` returns the client's socket; ``seconds`` is for the request's head."""
        self._dog = dog
        self._get_socket = get_socket
        self._thread = get_ident()
        self._lock = Lock()
        self._last_word: LastWord | None = None
        self._context: Context | None = None  # of the thread, for the last word
        self._reading = False
        self._over = False
        self.deadline = monotonic() + seconds

    def work(self, deadline: float, last_word: LastWord) -> None:
        """The head is there: from now on ``last_word()`` is sent when ``deadline`` has passed.

        ``last_word`` returns the bytes of a whole HTTP response; it is called in another thread,
        with the context variables as they are now.
        """
        with self._lock:
            if not self._over:
                self.deadline = deadline
                self._last_word = last_word
                self._context = copy_context()

    def answer(self) -> bool:
        """The thread has its response; whether there still is a client to send it to."""
        with self._lock:
            self._last_word = None
            return not self._over

    def __enter__(self) -> Self:
        self._dog.begin(self)
        self._token = _current.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)
        self._dog.finish(self)
        self.end()

    def end(self) -> None:
        """The thread is through with the request: its socket is not to be touched any more."""
        with self._lock:
            self._over = True

    @contextmanager
    def reading(self) -> Iterator[None]:
        """For the block: when time is up the body ends where it is."""
        self._reading = True
        try:
            yield
        finally:
            with self._lock:
                self._reading = False

    def overrun(self) -> None:
        """Time is up: do what is right for what the thread does."""
        with self._lock:
            if self._over or monotonic() < self.deadline:
                return
            client = self._get_socket()
            if self._reading:
                self.deadline = monotonic() + GRACE
                with suppress(OSError):
                    client.shutdown(socket.SHUT_RD)
                return
            self._over = True
            if self._last_word is not None and self._context is not None:
                self._log_stack()
                _send(client, self._context.run(self._last_word))
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def _log_stack(self) -> None:
        frame = sys._current_frames().get(self._thread)  # noqa: SLF001 - the documented way
        stack = "".join(traceback.format_stack(frame)[-_FRAMES:]) if frame else ""
        logger.error("a thread is busy past its request's deadline:\n%s", stack.rstrip())


def _send(client: socket.socket, word: bytes) -> None:
    """Send ``word`` without waiting; a TLS connection cannot do that and is only closed."""
    if not isinstance(client, SSLSocket):
        with suppress(OSError):
            client.send(word, socket.MSG_DONTWAIT)


class Watchdog:
    """Looks after the watches of a process, in a thread of its own."""

    def __init__(self) -> None:
        self._watches: dict[int, Watch] = {}
        self._wake = Event()
        self._idle = False
        Thread(target=self._run, name="watchdog", daemon=True).start()

    def over(self, get_socket: GetSocket, seconds: float) -> Watch:
        """Watch the block, which handles one request; ``current_watch()`` finds the watch."""
        return Watch(self, get_socket, seconds)

    def begin(self, watch: Watch) -> None:
        """Look after ``watch`` from now on."""
        self._watches[id(watch)] = watch
        if self._idle:
            self._idle = False
            self._wake.set()

    def finish(self, watch: Watch) -> None:
        """Look after it no longer."""
        del self._watches[id(watch)]

    def _run(self) -> None:
        while True:
            for watch in tuple(self._watches.values()):
                if monotonic() >= watch.deadline:
                    try:
                        watch.overrun()
                    except Exception:
                        watch.end()
                        logger.exception("the watchdog failed")
            self._rest()

    def _rest(self) -> None:
        if self._watches:
            self._wake.clear()  # set by the request that ended the last rest
            self._wake.wait(TICK)
            return
        self._wake.clear()
        self._idle = True
        if not self._watches:  # none came in between
            self._wake.wait()


_current: ContextVar[Watch | None] = ContextVar("pcf_watch", default=None)


def current_watch() -> Watch | None:
    """The watch over this request; None where no worker of ours serves it (``pcf.http.worker``)."""
    return _current.get()
