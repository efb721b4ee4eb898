"""A middleware that is unknown to the engine, and records the requests that it gets."""

from dataclasses import dataclass, field
from typing import Any

from django.http import HttpResponse


@dataclass
class Seen:
    """The requests that the middleware got, and what it does to the next ones."""

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
