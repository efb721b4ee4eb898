"""Which entries of MIDDLEWARE may be passed by on the way to a GraphQL answer.

The entries known here do nothing for such an answer but add headers, which the server learns from
one request through the chain, or refuse a request by its origin (host and TLS), which that request
shows as well. GraphQL knows no cookies, so sessions, messages, log-ins and CSRF do not matter.
"""

import logging

from pcf.apps import middleware_settings

KNOWN = frozenset(
    {
        "axes.middleware.AxesMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.middleware.security.SecurityMiddleware",
        "pcf.http.hosts.HostMiddleware",
        "pcf.http.middleware.RequestMiddleware",
        "pcf.http.pages.PagePolicyMiddleware",
        "whitenoise.middleware.WhiteNoiseMiddleware",
    }
)

logger = logging.getLogger("pcf.http")


def unknown_middleware() -> list[str]:
    """Return the entries of MIDDLEWARE that a GraphQL request has to pass, and log them.

    CommonMiddleware is one of them where it refuses clients by their names.
    """
    entries, refuses_clients = middleware_settings()
    unknown = [entry for entry in entries if entry not in KNOWN]
    if refuses_clients:
        unknown += [entry for entry in entries if entry.endswith(".CommonMiddleware")]
    if unknown:
        logger.warning(
            "GraphQL requests pass all of MIDDLEWARE and are slower, because of %s",
            ", ".join(unknown),
        )
    return unknown
