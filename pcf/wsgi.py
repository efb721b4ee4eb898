"""The WSGI application."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.development")

_django = get_wsgi_application()

from pcf.http.front import Front  # noqa: E402 - once Django is set up
from pcf.schema import graphql_service  # noqa: E402

graphql_service()  # a manifest that cannot be read stops the start
application = Front(_django, graphql_service)
