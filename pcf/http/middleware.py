"""The outermost layer: request id, deadline, a last answer when something fell through."""

import logging
from collections.abc import Callable
from functools import partial
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse

from pcf.http import logs
from pcf.http.arrival import REQUEST_ID, Arrival, arrival_of
from pcf.http.last_word import last_word
from pcf.http.watchdog import current_watch
from pcf.timeouts import activate

logger = logging.getLogger("pcf.http")


class RequestMiddleware:
    """Opens the TimeoutContext that everything below answers to, as ``request.timeout``."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer ``request`` within its time; the answer carries its ``X-Request-ID``."""
        arrival = arrival_of(request.META)
        request.timeout = arrival.timeout  # type: ignore[attr-defined]
        request.pcf_request_id = arrival.request_id  # type: ignore[attr-defined]
        with attended(arrival):
            response = self._get_response(request)
            answered()
        response[REQUEST_ID] = arrival.request_id
        if response.status_code == HTTPStatus.NOT_MODIFIED:
            del response["Content-Length"]  # of no bytes, while that of a 200 would be meant
        if request.method == "HEAD" and not response.streaming:
            response.content = b""  # its length stays; gunicorn warns of bytes that it leaves out
        return response


class attended:  # noqa: N801 - reads as the function that it stands for
    """For the block: lines of the log name the request, its deadline is the current one, and the
    watchdog has the last word when nothing is answered by then.
    """

    __slots__ = ("_arrival", "_deadline", "_token")

    def __init__(self, arrival: Arrival) -> None:
        self._arrival = arrival
        self._deadline = activate(arrival.timeout)

    def __enter__(self) -> None:
        arrival = self._arrival
        self._token = logs.request_id.set(arrival.request_id)
        self._deadline.__enter__()
        watch = current_watch()
        if watch is not None and not arrival.watched:
            arrival.watched = True
            word = partial(last_word, arrival.timeout, arrival.request_id)
            watch.work(arrival.timeout.deadline, word)

    def __exit__(self, *problem: object) -> None:
        self._deadline.__exit__(None, None, None)
        logs.request_id.reset(self._token)


def answered() -> None:
    """There is an answer to send; whether there is still somebody to send it to is logged."""
    watch = current_watch()
    if watch is not None and not watch.answer():
        logger.warning("the answer came too late, the client has been told of the timeout")
