"""The WSGI application."""

import os
from typing import Any

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver
from django.utils.module_loading import import_string

from pcf.apps import config
from pcf.http.access import AccessLog
from pcf.processes import use_slots

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.development")
use_slots()  # before the application makes its metrics

application: Any = get_wsgi_application()

# What the first request would load is loaded now, once, before workers are forked: a new worker
# must not let the requests wait that reach it first.
_ = get_resolver().url_patterns
import_string("pcf.schema.graphql_service")()  # a manifest that cannot be read stops the start

if config().logs.access:
    application = AccessLog(application)
