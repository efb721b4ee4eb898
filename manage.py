#!/usr/bin/env python
"""Django's command line for PCF."""

import os
import sys


def main() -> None:
    """Run a management command; development settings unless the environment names others."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.development")
    from django.core.management import execute_from_command_line  # noqa: PLC0415 (after settings)

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
