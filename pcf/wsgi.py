"""The WSGI application."""

import os

from django.core.wsgi import get_wsgi_application
from django.utils.module_loading import import_string

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.development")

application = get_wsgi_application()

import_string("pcf.schema.graphql_service")()  # a manifest that cannot be read stops the start
