"""Settings for production. A missing or unsafe value raises ImproperlyConfigured."""

from pcf.conf.environment import engine_config
from pcf.conf.production import PRODUCTION_SECTIONS, check_production
from settings.base import *

from pcf.conf.production import *  # isort: skip - its values win over those of base

PCF = engine_config(**PRODUCTION_SECTIONS, requests={"session_cookie": "__Host-session"})

LOGGING["loggers"] |= AXES_LOGGERS
STORAGES["staticfiles"]["BACKEND"] = "web.storage.ModuleStaticFilesStorage"

check_production(globals())
