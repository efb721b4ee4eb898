"""Run, test and check the project on a machine that has nothing but Python 3.11.

    python3 scripts/dev.py run              the service with its servers, until Ctrl-C
    python3 scripts/dev.py test [ARGS]      pytest with servers of its own
    python3 scripts/dev.py check            everything that is checked without running the tests
    python3 scripts/dev.py format           put the source into its usual form
    python3 scripts/dev.py services         throw-away servers; prints their addresses; until Ctrl-C
    python3 scripts/dev.py exec -- COMMAND  one command with throw-away servers; with --durable
                                            before --, PostgreSQL waits for its disk as it should
    python3 scripts/dev.py requirements     pin requirements*.in again

Exit status: 0 when the work is done, or when run or services were asked to stop; what the command
or pytest said for test and exec; 128 + signal when one of the others was interrupted; 1 when
something failed. DATABASE_URL and REDIS_URL win over servers of our own, each for itself.
"""

import os
import shutil
import subprocess
import sys

OLDEST_PYTHON = (3, 11)


def restart_with_newer_python() -> None:
    """Become a Python that is new enough; exit with an explanation when there is none."""
    probe = "import sys; sys.exit(sys.version_info < (3, 11))"
    for name in ("python3.14", "python3.13", "python3.12", "python3.11"):
        python = shutil.which(name)
        # Tried, because version managers put commands on PATH that only say they are not there.
        if python and subprocess.call([python, "-c", probe], stderr=subprocess.DEVNULL) == 0:
            os.execv(python, [python, *sys.argv])  # noqa: S606
    sys.exit(
        f"[pcf] Python 3.11 or later is needed; {sys.executable} is {sys.version.split()[0]}, "
        "and no newer one is on PATH. Name one with: make PYTHON=/path/to/python3"
    )


if __name__ == "__main__":
    if sys.version_info < OLDEST_PYTHON:
        restart_with_newer_python()
    # The project's root instead of this folder, so that modules are imported under their full
    # names.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
    from scripts.commands import main

    sys.exit(main(sys.argv[1:]))
