"""The WSGI application of a Django peer, without anything of PCF's in front."""

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
