"""Run, test and check the project on a machine that has nothing but Python 3.11.

    python3 scripts/dev.py run              run the service with its servers until Ctrl-C
    python3 scripts/dev.py test [ARGS]      run pytest with throw-away servers
    python3 scripts/dev.py check            run all checks except the tests
    python3 scripts/dev.py format           format the source
    python3 scripts/dev.py services         run throw-away servers until Ctrl-C; print their URLs
    python3 scripts/dev.py exec -- COMMAND  run a command with throw-away servers; --durable before
                                            -- makes PostgreSQL wait for its disk
    python3 scripts/dev.py requirements     pin all requirements*.in

The exit status is 0 after success, and after a signal to run or services. test and exec return the
status of pytest or of the command. 128 + signal stands for any other interruption, 1 for a failure.
If DATABASE_URL or REDIS_URL is set, dev.py uses that server and starts none of its own.
"""

import os
import shutil
import subprocess
import sys

OLDEST_PYTHON = (3, 11)


def restart_with_newer_python() -> None:
    """Replace this process by a newer Python. Exit with an explanation if there is none."""
    probe = "import sys; sys.exit(sys.version_info < (3, 11))"
    for name in ("python3.14", "python3.13", "python3.12", "python3.11"):
        python = shutil.which(name)
        # Version managers put commands on PATH that only print an error, so each one is tried.
        if python and subprocess.call([python, "-c", probe], stderr=subprocess.DEVNULL) == 0:
            os.execv(python, [python, *sys.argv])  # noqa: S606
    sys.exit(
        f"[pcf] The project needs Python 3.11 or later. {sys.executable} is "
        f"{sys.version.split()[0]}, and PATH has no newer one. "
        "Name one with: make PYTHON=/path/to/python3"
    )


if __name__ == "__main__":
    if sys.version_info < OLDEST_PYTHON:
        restart_with_newer_python()
    # Modules are imported as scripts.NAME, so sys.path needs the root instead of this folder.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
    from scripts.commands import main

    sys.exit(main(sys.argv[1:]))
