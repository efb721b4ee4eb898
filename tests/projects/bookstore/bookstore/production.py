"""The bookstore's settings for production. An unsafe value raises ImproperlyConfigured."""

from bookstore.settings import *
from pcf.conf.production import *

WHITENOISE_USE_FINDERS = False

check_production(globals())
