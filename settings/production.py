"""Settings for production. A missing or unsafe value raises ImproperlyConfigured."""

from pcf.conf.production import check_production
from settings.base import *

from pcf.conf.production import *  # isort: skip - its values win over those of base

check_production(globals())
