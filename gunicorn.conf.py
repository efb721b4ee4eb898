"""gunicorn's settings for this project: those of the engine."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.development")

from pcf.server.gunicorn import *  # noqa: F403 - it reads the environment
