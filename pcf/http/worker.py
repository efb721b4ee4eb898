"""gunicorn's threaded worker: under a watchdog, with fewer wake-ups between two requests."""

from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from io import BytesIO
from math import inf
from select import POLLIN, poll
from selectors import EVENT_READ
from threading import BoundedSemaphore
from time import monotonic
from typing import Any

from gunicorn.http import wsgi
from gunicorn.util import close_graceful
from gunicorn.workers.gthread import ThreadWorker

from pcf.apps import config
from pcf.http.counts import ConnectionCounts
from pcf.http.reply import Reply
from pcf.http.watchdog import Watchdog

LINGER = 5  # ms that a thread waits for a client's next request
QUICK = 0.01  # seconds within which a client sends its next request if it is worth waiting for

counts = ConnectionCounts()


class Settings:
    """gunicorn's settings as they are when a worker starts: it never changes them, but asks for
    some twenty of them a request, each of which gunicorn looks up and computes.
    """

    def __init__(self, given: Any) -> None:
        self._given = given
        self.__dict__.update({name: getattr(given, name) for name in given.settings})
        self.is_ssl = given.is_ssl

    def __getattr__(self, name: str) -> Any:
        return getattr(self._given, name)


class Worker(ThreadWorker):
    """As gunicorn's ``gthread``; no client can keep a thread beyond its request's time.

    A proxy under load sends the next request of a connection at once. ``gthread`` has the main
    thread wait for it and wake another, which costs more than a small answer does; here the thread
    that answered waits itself, a moment, while nobody else needs it: never when connections are
    queued, never the last free thread, and not for a client that took its time before. Otherwise
    it gives the connection back to the selector itself, so that the main thread wakes for
    requests only, not for answers as well.
    """

    alive: bool
    cfg: Any
    watchdog: Watchdog

    def init_process(self) -> None:
        """Start the watchdog in the worker's own process: threads do not survive a fork."""
        self.cfg = Settings(self.cfg)
        self.watchdog = Watchdog()
        self.prepare()
        super().init_process()

    def prepare(self) -> None:
        """Set up what the threads share."""
        self._queued: deque[None] = deque()  # a mark for each connection that no thread has yet
        self._spare = BoundedSemaphore(self.cfg.threads)
        self._spare.acquire()
        self._logs = self.log.access_log_enabled or self.cfg.statsd_host

    def notify(self) -> None:
        """Called in every turn of the main loop."""
        super().notify()
        counts.take(self.age, self.nr_conns)

    def accept(self, listener: Any) -> None:
        """Accept a connection, unless a worker that has fewer is faster."""
        counts.give_way(self.nr_conns)
        super().accept(listener)
        counts.take(self.age, self.nr_conns)

    def enqueue_req(self, conn: Any) -> None:
        """Have one of the threads handle a connection."""
        self._queued.append(None)
        self.tpool.submit(self.handle, conn).add_done_callback(partial(self._finish, conn))

    def _finish(self, conn: Any, handled: Future[Any]) -> None:
        """Called in the thread that has handled a connection; what ends one is left to the main
        thread, which counts them.
        """
        done = not handled.cancelled() and handled.exception() is None
        if not (self.alive and done and handled.result() is True):
            self.method_queue.defer(self.finish_request, conn, handled)
            return
        try:
            conn.sock.setblocking(False)
            conn.set_timeout()
            self.keepalived_conns.append(conn)  # first: the main thread takes it out at an event
            again = partial(self.on_client_socket_readable, conn)
            self.poller.register(conn.sock, EVENT_READ, again)
        except (OSError, ValueError, KeyError):  # closed in the meantime, or the selector is
            self.method_queue.defer(self._drop, conn)

    def _drop(self, conn: Any) -> None:
        """End a connection that the selector does not take; called in the main thread."""
        with suppress(ValueError):
            self.keepalived_conns.remove(conn)
        self.nr_conns -= 1
        conn.close()

    def handle(self, conn: Any) -> Any:
        """Handle a connection in this thread, ``timeouts.head`` seconds for a request's head."""
        self._queued.pop()
        waits = monotonic() - getattr(conn, "answered", inf) < QUICK  # a new one is not known yet
        while True:
            with self.watchdog.over(lambda: conn.sock, config().timeouts.head):
                kept = super().handle(conn)
            if kept is not True:
                return kept
            conn.answered = monotonic()
            if not (waits and self._has_more(conn)):
                return kept

    def _has_more(self, conn: Any) -> bool:
        """Whether the client sends something, or hangs up, before the thread is needed."""
        if self._queued or self.cfg.is_ssl or not self._spare.acquire(blocking=False):
            return False
        try:
            waiting = poll()
            waiting.register(conn.sock, POLLIN)
            return bool(waiting.poll(LINGER)) and self.alive
        finally:
            self._spare.release()

    def handle_request(self, req: Any, conn: Any) -> bool:
        """Answer one request; whether its connection may be kept.

        As gunicorn's without its access log and its hooks for requests: they cost as much as a
        hit's look-up in Redis. Where its log is wanted gunicorn does it all.
        """
        if self._logs:
            return bool(super().handle_request(req, conn))
        reply, environ = wsgi.create(
            req, conn.sock, conn.client, conn.server, self.cfg, response_class=Reply
        )
        environ["wsgi.multithread"] = True
        self._count(reply)
        whole = _take_body(req, conn, environ)
        try:
            self._answer(environ, reply)
        except OSError:
            raise
        except Exception:
            if not reply.headers_sent:
                raise
            self.log.exception("Error handling request")
            close_graceful(conn.sock)  # half an answer: only the end of the connection tells
            return False
        if whole:
            conn.parser.mesg = None  # spares it a search for the rest of the body
        return not reply.should_close()

    def _count(self, reply: Reply) -> None:
        """Begin one more request; the connection ends with it where no further one may follow."""
        self.nr += 1
        if self.nr >= self.max_requests and self.alive:
            self.log.info("Autorestarting worker after current request.")
            self.alive = False
        if not (self.alive and self.cfg.keepalive) or (
            len(self.keepalived_conns) >= self.max_keepalived
        ):
            reply.force_close()

    def _answer(self, environ: dict[str, Any], reply: Reply) -> None:
        body = self.wsgi(environ, reply.start_response)
        try:
            for piece in body:
                reply.write(piece)
            reply.close()
        finally:
            if hasattr(body, "close"):
                body.close()


def _take_body(req: Any, conn: Any, environ: dict[str, Any]) -> bool:
    """Replace ``wsgi.input`` by the bytes of the body when all of them came with the head, as is
    usual; whether they did. Nothing has to wait for them then.
    """
    length = environ.get("CONTENT_LENGTH", "0")
    if not length.isdigit() or "HTTP_TRANSFER_ENCODING" in environ:
        return False
    unreader = conn.parser.unreader
    came = unreader.take_buffered()
    unreader.unread(came)
    if len(came) < int(length):
        return False
    environ["wsgi.input"] = BytesIO(req.body.read(int(length)))
    return True
