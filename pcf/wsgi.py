"""The WSGI application, for servers that know no ASGI: everything goes through Django's view.

The answers are the same. The fast path, the deadline that holds whatever a thread does and the
bound of the queue are the ASGI application's (``pcf.asgi``).
"""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.development")

application = get_wsgi_application()
