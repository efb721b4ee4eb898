"""The WSGI application of a project, for servers without ASGI.

Django's view answers every request, with the same answers as ``pcf.asgi``. The fast path, the
deadline that no thread can delay, and the bounded queue belong to the ASGI application alone.
"""

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
