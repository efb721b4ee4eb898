"""The WSGI application."""

import os

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.development")

application = get_wsgi_application()

# What the first request would load is loaded now, once, before workers are forked: a new worker
# must not let the requests wait that reach it first.
_ = get_resolver().url_patterns

from pcf.schema import graphql_service  # noqa: E402 - once Django is set up

graphql_service()
