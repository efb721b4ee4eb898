"""The ASGI application."""

import os
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.development")
django.setup()

from django.urls import get_resolver  # noqa: E402 - once Django is set up

from pcf.apps import config, service_maker  # noqa: E402
from pcf.http.access import AccessLog  # noqa: E402
from pcf.http.traced import Traced  # noqa: E402
from pcf.server.application import Application  # noqa: E402
from pcf.server.pages import Pages  # noqa: E402

# What the first request would load is loaded now, once, before workers are forked: a new worker
# does not let the requests wait that reach it first.
_ = get_resolver().url_patterns

_make_service = service_maker()
_make_service()  # a manifest that cannot be read stops the start

application: Any = Application(Pages(), _make_service)
if config().traces.enabled:
    application = Traced(application)
if config().logs.access:
    application = AccessLog(application)
