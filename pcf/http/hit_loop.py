"""The loop that waits for all connections of a worker: it answers hits, the rest is for threads.

A hit is so little work that to wake a thread for it costs as much. So one thread reads whatever
has come, asks Redis for all the hits among it at once, and answers them: the busier a worker, the
more hits share a round trip. What else has come is work for threads, as far as it is known: a
request as it was parsed, a connection whose request is not there as a whole, the rest of an answer
that its client is slow to take. One such piece the thread may do itself: then it gives the loop to
an idle one, and who asked does not have to wait until that has woken up.

Nothing here waits for a client, and for Redis at most ``timeouts.cache``: after a failure nothing
is asked from here until a thread has found Redis well again (``Gate.read``). When answering fails
in an unforeseen way that is logged, and its connection is handed on, or closed once a part of the
answer may have been sent.
"""

import logging
from collections.abc import Sequence
from socket import MSG_DONTWAIT
from typing import Any, NamedTuple, Protocol

from pcf.http.front import Answer, ShortRequest
from pcf.http.parsing import PlainParser, PlainRequest
from pcf.http.reply import Reply
from pcf.http.waiting import WaitingConnections

_CHUNK = 65_536  # bytes that are read at once

logger = logging.getLogger("pcf.http")


class Work(NamedTuple):
    """What a thread has to do: handle the next request of ``conn``, or send the ``rest`` of an
    answer, after which the connection is ``kept`` or not.
    """

    conn: Any
    rest: bytes | None = None
    kept: bool = True


class Hands(Protocol):
    """What the loop needs of a worker."""

    waiting: WaitingConnections

    def new_reply(self, request: Any, conn: Any) -> Reply:
        """A reply to ``request``; counts the request."""

    def hand_on(self, work: Work) -> None:
        """Have a thread do ``work``."""

    def keep(self, conn: Any, *, rearm: bool) -> None:
        """Let ``conn`` wait for its client again, which it was told of and read to the end; where
        it was not, ``rearm``.
        """

    def end(self, conn: Any) -> None:
        """Have ``conn`` closed."""


class Answerer(Protocol):
    """What knows hits: see ``pcf.http.front.Front``."""

    def recognise(self, environ: dict[str, Any]) -> ShortRequest | None:
        """The request with this WSGI environ, if it may be a hit; waits for nothing."""

    def answer(self, requests: Sequence[ShortRequest]) -> Sequence[Answer | None]:
        """The answers to ``requests`` in their order, None for what is no hit."""


class _Asked(NamedTuple):
    conn: Any
    rearm: bool
    request: PlainRequest
    short: ShortRequest


class HitLoop:
    """The loop of one worker; without an ``answerer`` there are no hits."""

    def __init__(self, worker: Hands, answerer: Answerer | None) -> None:
        self._worker = worker
        self._answerer = answerer
        self._left: list[Work] = []  # by this turn

    def wait(self) -> Work | None:
        """Take turns until there is work that is not handed on, which is for the caller; None when
        ``stop`` of the waiting connections was called.
        """
        while taken := self._worker.waiting.take():
            work = self.turn(taken)
            if work is not None:
                return work
        return None

    def turn(self, taken: Sequence[tuple[Any, bool]]) -> Work | None:
        """Deal with what ``WaitingConnections.take`` returned; the last piece of work that this
        leaves is for the caller.
        """
        asked = []
        for conn, rearm in taken:
            try:
                one = self._read(conn, rearm=rearm)
            except Exception:
                logger.exception("a connection could not be read")
                self._worker.end(conn)
                continue
            if one is not None:
                asked.append(one)
        if asked:
            self._hand_on(0)  # nobody waits for the hits of others
            self._answer(asked)
        return self._hand_on(1)

    def _hand_on(self, but: int) -> Work | None:
        """Hand on what is left but for so many pieces of work, one at most, which is returned."""
        while len(self._left) > but:
            self._worker.hand_on(self._left.pop(0))
        return self._left.pop() if self._left else None

    def _answer(self, asked: Sequence[_Asked]) -> None:
        answers: Sequence[Answer | None] = [None] * len(asked)
        try:
            if self._answerer is not None:
                answers = self._answerer.answer([each.short for each in asked])
        except Exception:
            logger.exception("hits could not be answered")
        for each, answer in zip(asked, answers, strict=True):
            try:
                self._send(each, answer)
            except Exception:
                logger.exception("a hit could not be sent")
                self._worker.end(each.conn)

    def _read(self, conn: Any, *, rearm: bool) -> _Asked | None:
        """The request of ``conn``, if it may be a hit; everything else is dealt with."""
        parser = conn.parser
        if self._answerer is None or type(parser) is not PlainParser:
            self._left.append(Work(conn))
            return None
        try:
            data = conn.sock.recv(_CHUNK, MSG_DONTWAIT)
        except BlockingIOError:
            self._worker.keep(conn, rearm=rearm)
            return None
        except OSError:
            data = b""
        if not data:
            self._worker.end(conn)
            return None
        request = parser.only(data)
        if request is None:
            parser.unreader.unread(data)
            self._left.append(Work(conn))
            return None
        short = self._answerer.recognise(request.environ)
        if short is None:
            parser.put_back(request)
            self._left.append(Work(conn))
            return None
        return _Asked(conn, rearm or len(data) == _CHUNK, request, short)

    def _send(self, asked: _Asked, answer: Answer | None) -> None:
        conn = asked.conn
        if answer is None:
            conn.parser.put_back(asked.request)
            self._left.append(Work(conn))
            return
        reply = self._worker.new_reply(asked.request, conn)
        data = reply.whole(answer.status, answer.headers, answer.body)
        try:
            sent = conn.sock.send(data, MSG_DONTWAIT)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._worker.end(conn)
            return
        if sent < len(data):
            self._left.append(Work(conn, data[sent:], not reply.should_close()))
        elif reply.should_close():
            self._worker.end(conn)
        else:
            self._worker.keep(conn, rearm=asked.rearm)
