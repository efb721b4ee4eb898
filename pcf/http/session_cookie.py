"""The session cookie: a token that a browser keeps, as the second way to be a viewer.

``requests.session_cookie`` names the cookie. The cookie holds a token, so it is looked up like a
bearer token. The header ``Authorization`` wins over the cookie. Scripts cannot read the cookie
(HttpOnly), and browsers do not send it with requests of other sites (SameSite=Lax).

A browser adds the cookie by itself, so the engine checks which page sent the request. The check
follows the fetch metadata (https://www.w3.org/TR/fetch-metadata/): the page must have the origin of
the service. Browsers without these headers send Origin (RFC 6454). Only browsers are a danger, so a
request with neither header passes. Requests that may write need the Content-Type
application/json, which a page of another origin cannot send without a preflight.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from pcf.conf import config
from pcf.errors import ForeignOrigin
from pcf.execution.context import RequestContext
from pcf.http.response import GraphQLResponse
from pcf.viewer import MAX_TOKEN

# The page itself sent the request, or a person typed the address.
_OWN_SITES = frozenset({"same-origin", "none"})
_PREFIXES = ("__Host-", "__Secure-")  # browsers keep such cookies over HTTPS alone


def cookie_token(headers: Mapping[str, str]) -> str | None:
    """Return the token in the session cookie; None without one.

    Raises ForeignOrigin when a page of another origin sent the request.
    """
    header = headers.get("cookie")
    name = config().requests.session_cookie
    if not header or not name:
        return None
    token = _value(header, name)
    if not token or len(token) > MAX_TOKEN or not token.isascii():
        return None
    if not is_same_origin(headers):
        raise ForeignOrigin("The session cookie is for pages of this service alone")
    return token


def is_same_origin(headers: Mapping[str, str]) -> bool:
    """Return whether a page of this origin sent the request, or no browser did."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site.strip() in _OWN_SITES
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        host = urlsplit(origin).netloc.lower()
    except ValueError:  # an address that is none
        return False
    return bool(host) and host == (headers.get("host") or "").lower()


def set_cookie(token: str, seconds: int) -> dict[str, str]:
    """Return the header that makes the browser keep ``token`` for ``seconds``.

    0 seconds remove the cookie. The result is empty where the engine has no session cookie.
    """
    name = config().requests.session_cookie
    if not name:
        return {}
    secure = "; Secure" if name.startswith(_PREFIXES) else ""
    attributes = f"Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"
    return {"Set-Cookie": f"{name}={token}; {attributes}"}


def remove_cookie() -> dict[str, str]:
    """Return the header that makes the browser forget the session cookie."""
    return set_cookie("", 0)


def with_cookie(response: GraphQLResponse, context: RequestContext) -> GraphQLResponse:
    """Return ``response`` with the session cookie that a mutation has set or removed."""
    cookie = context.session_cookie
    if cookie is None:
        return response
    return response._replace(headers={**response.headers, **set_cookie(*cookie)})


def _value(header: str, name: str) -> str | None:
    """Return the value of the first cookie called ``name``."""
    for pair in header.split(";"):
        key, equals, value = pair.strip().partition("=")
        if equals and key == name:
            return value
    return None
