"""Small applications that ``hits`` compares PCF with."""

from collections.abc import Callable, Iterable
from typing import Any

import django
from django.conf import settings
from django.core.cache import cache
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from settings import development

BODY = b"x" * 250  # about as long as the answer of a hit


def bare(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    environ["wsgi.input"].read()
    start("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(BODY)))])
    return (BODY,)


async def bare_asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        for event in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{event}.complete"})
        return
    await receive()
    headers = [(b"Content-Type", b"application/json"), (b"Content-Length", b"%d" % len(BODY))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


def django_view() -> Any:
    """Return a Django application with one view, no middleware, and the service's Redis."""
    settings.configure(
        ROOT_URLCONF=(path("graphql", _view),),
        ALLOWED_HOSTS=["*"],
        CACHES=development.CACHES,
        SECRET_KEY="benchmark",  # noqa: S106
    )
    django.setup()
    cache.set("benchmark", BODY, 3_600)
    return get_wsgi_application()


@csrf_exempt
def _view(request: HttpRequest) -> HttpResponse:
    assert request.body  # noqa: S101
    return HttpResponse(cache.get("benchmark"), content_type="application/json")
