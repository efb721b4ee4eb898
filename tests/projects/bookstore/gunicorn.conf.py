"""gunicorn's settings: those of the engine."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bookstore.settings")

from pcf.server.gunicorn import *
