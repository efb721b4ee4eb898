"""The middleware of the comparison: everybody is anonymous, without a look at a session."""

from collections.abc import Callable

from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse

ANONYMOUS = AnonymousUser()


def middleware(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Set ``request.user``, which Undine's cache asks for."""

    def answer(request: HttpRequest) -> HttpResponse:
        request.user = ANONYMOUS  # type: ignore[assignment]
        return get_response(request)

    return answer
