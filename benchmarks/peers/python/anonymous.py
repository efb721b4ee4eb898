"""A middleware for the peers that makes every user anonymous without reading a session."""

from collections.abc import Callable

from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse

ANONYMOUS = AnonymousUser()


def middleware(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Set ``request.user``, which Undine's cache reads."""

    def answer(request: HttpRequest) -> HttpResponse:
        request.user = ANONYMOUS
        return get_response(request)

    return answer
