"""What pages may load: a Content-Security-Policy for every page that brings none of its own."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from pcf.apps import debugging

HEADER = "Content-Security-Policy"

# The project's own files; nothing from elsewhere, nothing inline, no eval, in no frame.
DIRECTIVES = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "font-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
POLICY = "; ".join(f"{name} {sources}" for name, sources in DIRECTIVES.items())


class PagePolicyMiddleware:
    """Adds the policy to HTML; answers to programs need none, GraphiQL's page has its own.

    Django's pages for debugging style themselves inline, so they are left alone.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """The answer of what comes after, with the policy if it is a page."""
        response = self._get_response(request)
        is_page = response.headers.get("Content-Type", "").startswith("text/html")
        if is_page and not (debugging() and response.status_code in {404, 500}):
            response.headers.setdefault(HEADER, POLICY)
        return response
