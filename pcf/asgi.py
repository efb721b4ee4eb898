"""The ASGI application of a project; ``DJANGO_SETTINGS_MODULE`` names the project's settings."""

from typing import Any

import django
from django.urls import get_resolver

from pcf.conf import config, service_maker


def _application() -> Any:
    from pcf.server.application import (  # noqa: PLC0415 - Django is set up now
        AccessLogMiddleware,
        Application,
        TracingMiddleware,
    )
    from pcf.server.django_handler import DjangoHandler  # noqa: PLC0415

    # Load the URLs and the schema before gunicorn forks workers, so that no request waits for them.
    # A manifest of persisted documents that cannot be read stops the start here.
    _ = get_resolver().url_patterns
    make_service = service_maker()
    make_service()
    application: Any = Application(DjangoHandler(), make_service)
    if config().traces.enabled:
        application = TracingMiddleware(application)
    if config().logs.access:
        application = AccessLogMiddleware(application)
    return application


django.setup()
application = _application()
