"""The WSGI application."""

import os
from typing import Any

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

from pcf.apps import config, service_maker
from pcf.http.access import AccessLog
from pcf.http.traced import Traced

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.development")

_django = get_wsgi_application()

# What the first request would load is loaded now, once, before workers are forked: a new worker
# must not let the requests wait that reach it first.
_ = get_resolver().url_patterns

from pcf.http.front import Front  # noqa: E402 - once Django is set up

_make_service = service_maker()
_make_service()  # a manifest that cannot be read stops the start

application: Any = Front(_django, _make_service)
if config().traces.enabled:
    application = Traced(application)
if config().logs.access:
    application = AccessLog(application)
