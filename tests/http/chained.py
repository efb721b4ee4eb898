"""A middleware that the engine does not know."""

from dataclasses import dataclass, field
from typing import Any

from django.http import HttpResponse


@dataclass
class Seen:
    """What the middleware saw, and what it does to the next requests."""

    requests: list[Any] = field(default_factory=list)
    refuse: bool = False
    replace: bytes = b""


seen = Seen()


def middleware(get_response):
    def through(request):
        seen.requests.append((request.method, request.path, request.body))
        if seen.refuse:
            return HttpResponse("not today", status=418)
        if seen.replace:
            request._body = seen.replace
            request.META["CONTENT_LENGTH"] = str(len(seen.replace))
        response = get_response(request)
        response["X-Own"] = "seen"
        return response

    return through
