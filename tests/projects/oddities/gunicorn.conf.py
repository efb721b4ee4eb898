"""gunicorn's settings: those of the engine."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "oddities.settings")

from pcf.server.gunicorn import *
