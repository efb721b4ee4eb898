"""The outermost middleware of Django: request id and deadline."""

from collections.abc import Callable
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse

from pcf.http import logs
from pcf.http.arrival import REQUEST_ID, Arrival, arrival_of
from pcf.timeouts import activate


class RequestMiddleware:
    """Opens the TimeoutContext that everything below answers to, as ``request.timeout``."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer ``request``; the answer carries its ``X-Request-ID``."""
        arrival = arrival_of(request)
        request.timeout = arrival.timeout  # type: ignore[attr-defined]
        request.pcf_request_id = arrival.request_id  # type: ignore[attr-defined]
        with attended(arrival):
            response = self._get_response(request)
        response[REQUEST_ID] = arrival.request_id
        if response.status_code == HTTPStatus.NOT_MODIFIED:
            del response["Content-Length"]  # of no bytes, while that of a 200 would be meant
        if request.method == "HEAD" and not response.streaming:
            response.content = b""  # its length stays; servers warn of bytes that they leave out
        return response


class attended:  # noqa: N801 - reads as the function that it stands for
    """For the block: lines of the log name the request, and its deadline is the current one."""

    __slots__ = ("_arrival", "_deadline", "_token")

    def __init__(self, arrival: Arrival) -> None:
        self._arrival = arrival
        self._deadline = activate(arrival.timeout)

    def __enter__(self) -> None:
        self._token = logs.request_id.set(self._arrival.request_id)
        self._deadline.__enter__()

    def __exit__(self, *problem: object) -> None:
        self._deadline.__exit__(None, None, None)
        logs.request_id.reset(self._token)
