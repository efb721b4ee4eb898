#!/usr/bin/env python
"""Django's command line for PCF."""

import os
import sys


def main() -> None:
    """Run a management command; development settings unless the environment names others."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.development")
    # A command's metrics belong to no service: in the service's folder they would pile up.
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    from django.core.management import execute_from_command_line  # noqa: PLC0415 (after settings)

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
