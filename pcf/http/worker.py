"""gunicorn's threaded worker: under a watchdog, with a loop that answers hits without a thread."""

import signal
import socket
from contextlib import suppress
from io import BytesIO
from ssl import SSLSocket
from threading import Thread
from time import monotonic
from typing import Any

from gunicorn.http import wsgi
from gunicorn.http.message import HeaderPolicy
from gunicorn.util import close_graceful
from gunicorn.workers.gthread import ThreadWorker

from pcf.apps import config
from pcf.http.counts import ConnectionCounts
from pcf.http.front import Front
from pcf.http.hit_loop import HitLoop, Work
from pcf.http.jobs import Jobs
from pcf.http.parsing import PlainParser, PlainRequest
from pcf.http.reply import Reply
from pcf.http.waiting import WaitingConnections
from pcf.http.watchdog import Watchdog
from pcf.processes import give_back_memory

LOOK = 1.0  # seconds between two looks for connections whose clients are silent
TIDY = 60.0  # seconds after which memory that was freed is given back
IDLE_AT_END = 1.0  # seconds of silence after which a worker that ends closes a connection

_ENDING = (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT)

counts = ConnectionCounts()


class Settings:
    """gunicorn's settings as they are when a worker starts: it never changes them, but asks for
    some twenty of them a request, each of which gunicorn looks up and computes.
    """

    def __init__(self, given: Any, **others: Any) -> None:
        """``others`` replace what was ``given``."""
        self._given = given
        self.__dict__.update({name: getattr(given, name) for name in given.settings})
        self.is_ssl = given.is_ssl
        self.__dict__.update(others)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._given, name)


class ClientSocket(socket.socket):
    """A connection that is told to block once: gunicorn does so at every request, and each time
    the thread would let go of the interpreter.
    """

    @classmethod
    def of(cls, given: socket.socket) -> "ClientSocket":
        """Takes the place of ``given``, and blocks."""
        own = cls(given.family, given.type, given.proto, fileno=given.detach())
        socket.socket.setblocking(own, True)  # whatever the descriptor was left at
        return own

    def setblocking(self, flag: bool) -> None:
        """As of any socket."""
        if flag != self.getblocking():
            super().setblocking(flag)


class Worker(ThreadWorker):
    """As gunicorn's ``gthread``; no client can keep a thread beyond its request's time, and who has
    sent a request that was a hit before needs no thread.

    ``gthread`` has its main thread wait for all clients and wake another thread for each request,
    and again for each connection that is to be kept: on two processors under load that costs as
    much as a small answer. Here the main thread accepts connections and counts them, a loop waits
    for them and answers hits (``pcf.http.hit_loop``), and the threads do the rest.
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
        self.keepalived_conns = self.waiting = WaitingConnections()
        self._jobs: Jobs[Work | HitLoop] = Jobs()
        self._looked = self._tidied = monotonic()
        self._trusting = Settings(self.cfg, forwarded_allow_ips=["*"])
        self._logs = self.log.access_log_enabled or self.cfg.statsd_host

    def init_signals(self) -> None:
        """Take over the signals, and heed what came between the fork and now: until then they go
        to the process's copy of the master's queue, which nobody reads.
        """
        master = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
        super().init_signals()
        queue = getattr(master, "SIG_QUEUE", None)
        while queue is not None and not queue.empty():
            if queue.get_nowait() in _ENDING:
                self.alive = False

    def run(self) -> None:
        """Serve until the worker is told to end."""
        for _ in range(self.cfg.threads):
            self.tpool.submit(self._serve)
        Thread(target=self._serve, daemon=True).start()  # one of them always has the loop
        self._jobs.put(self.new_loop())
        try:
            super().run()
        finally:
            self.waiting.stop()

    def handle_quit(self, sig: Any, frame: Any) -> None:
        """End at once; threads that wait must not keep the process."""
        self.waiting.stop()
        super().handle_quit(sig, frame)

    def notify(self) -> None:
        """Called in every turn of the main loop."""
        super().notify()
        counts.take(self.age, self.nr_conns)
        if monotonic() - self._tidied > TIDY:
            self._tidied = monotonic()
            give_back_memory()

    def accept(self, listener: Any) -> None:
        """Accept a connection, unless a worker that has fewer is faster."""
        counts.give_way(self.nr_conns)
        super().accept(listener)
        counts.take(self.age, self.nr_conns)

    def enqueue_req(self, conn: Any) -> None:
        """Let a new connection wait for its first request; called by ``accept``."""
        conn.data_ready = True  # when a thread takes it
        if _trusts(self.cfg, conn.client):  # as gunicorn would find out at each of its requests
            conn.cfg = self._trusting
        try:
            conn.sock = ClientSocket.of(conn.sock)
            self.waiting.add(conn, max(self.cfg.keepalive, config().timeouts.head))
        except (OSError, ValueError):
            self.nr_conns -= 1
            conn.close()

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """One turn of the main loop; a worker that ends looks for idle connections meanwhile."""
        super().wait_for_and_dispatch_events(timeout if self.alive else min(timeout, LOOK))

    def murder_keepalived(self) -> None:
        """Close connections whose clients were silent for too long; called in every turn."""
        now = monotonic()
        if now - self._looked < LOOK:
            return
        self._looked = now
        if not self.alive:
            now += self.cfg.keepalive - IDLE_AT_END
        for conn in self.waiting.expire(now):
            self.nr_conns -= 1
            conn.close()

    def new_loop(self) -> HitLoop:
        """The loop, which one of the threads has at any time."""
        return HitLoop(self, self.wsgi if isinstance(self.wsgi, Front) and not self._logs else None)

    def _serve(self) -> None:
        """What each thread does: have the loop, or work for whichever connection needs it."""
        while (job := self._jobs.get()) is not None:
            if isinstance(job, HitLoop):
                work = self._wait(job)
                if work is None:
                    return
            else:
                work = job
            self._work(work)

    def _wait(self, loop: HitLoop) -> Work | None:
        """Have the loop until there is work for this thread and another one to have the loop; None
        when the worker ends, as it does when the loop fails.
        """
        try:
            while (work := loop.wait()) is not None:
                if self._jobs.give(loop):
                    return work
                self.hand_on(work)
        except BaseException:
            self.log.exception("The loop has failed; another worker has to take over")
        self.alive = False
        self._jobs.close()
        return None

    def _work(self, work: Work) -> None:
        conn, rest, kept = work
        try:
            kept = self.handle(conn) if rest is None else self._send(conn, rest) and kept
            while kept and self.alive and _has_begun(conn):
                kept = self.handle(conn)
            if kept and self.alive:
                self.waiting.add(conn, self.cfg.keepalive)
                return
        except (OSError, ValueError):  # closed in the meantime
            pass
        except BaseException:
            self.log.exception("Error handling a connection")
        self.end(conn)

    def _send(self, conn: Any, rest: bytes) -> bool:
        with self.watchdog.over(lambda: conn.sock, config().timeouts.http):
            conn.sock.sendall(rest)
        return True

    def hand_on(self, work: Work) -> None:
        """See ``pcf.http.hit_loop.Hands``."""
        self._jobs.put(work)

    def keep(self, conn: Any, *, rearm: bool) -> None:
        """See ``pcf.http.hit_loop.Hands``."""
        if rearm:
            self.waiting.add(conn, self.cfg.keepalive)
        else:
            self.waiting.keep(conn, self.cfg.keepalive)

    def end(self, conn: Any) -> None:
        """See ``pcf.http.hit_loop.Hands``."""
        self.method_queue.defer(self._end, conn)

    def _end(self, conn: Any) -> None:
        """Close a connection; called in the main thread, which counts them."""
        self.nr_conns -= 1
        with suppress(OSError):
            conn.close(graceful=True)

    def handle(self, conn: Any) -> Any:
        """Handle one request in this thread, ``timeouts.head`` seconds for its head; whether its
        connection may be kept.
        """
        with self.watchdog.over(lambda: conn.sock, config().timeouts.head):
            return super().handle(conn)

    def handle_request(self, req: Any, conn: Any) -> bool:
        """Answer one request; whether its connection may be kept.

        As gunicorn's without its access log and its hooks for requests: they cost as much as a
        hit's look-up in Redis. Where its log is wanted gunicorn does it all.
        """
        if self._logs:
            return bool(super().handle_request(req, conn))
        if type(req) is PlainRequest:
            reply, environ, whole = self.new_reply(req, conn), req.environ, True
        else:
            reply, environ = wsgi.create(
                req, conn.sock, conn.client, conn.server, self.cfg, response_class=Reply
            )
            environ["wsgi.multithread"] = True
            PlainParser.after(conn, environ)
            whole = _take_body(req, conn, environ)
            self._count(reply)
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

    def new_reply(self, request: Any, conn: Any) -> Reply:
        """See ``pcf.http.hit_loop.Hands``."""
        reply = Reply(request, conn.sock, self.cfg)
        self._count(reply)
        return reply

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


def _trusts(cfg: Any, client: Any) -> bool:
    """Whether a client with this address may set headers of a proxy's, by gunicorn's own rule."""
    policy = HeaderPolicy()
    policy.cfg, policy.peer_addr = cfg, client
    return bool(policy._peer_is_trusted_proxy())  # noqa: SLF001 - there is no other way to ask


def _has_begun(conn: Any) -> bool:
    """Whether the next request, or a part of it, came together with the one before: what has been
    read already makes no socket readable.
    """
    if conn.parser.unreader.buf.getbuffer().nbytes:
        return True
    return isinstance(conn.sock, SSLSocket) and conn.sock.pending() > 0


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
