"""``make check-package``: pip installs the engine into an empty environment, for a bookstore.

The environment gets the engine and its dependencies from the index, and nothing of this
repository. Then the tests of the bookstore run with that environment's Python. They need servers:
``scripts/dev.py exec`` provides them.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.environment import base_python

ROOT = Path(__file__).resolve().parent.parent
BOOKSTORE = "tests/projects/test_bookstore.py"


def main() -> int:
    """Return pytest's exit status. Raises CalledProcessError when pip fails."""
    with tempfile.TemporaryDirectory(prefix="pcf-package-") as folder:
        subprocess.run([base_python(), "-m", "venv", folder], check=True)
        python = Path(folder, "bin", "python")
        print("installing the engine into an empty environment", flush=True)
        install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(ROOT)]
        subprocess.run([python, *install], check=True)
        subprocess.run([python, "-m", "pip", "check", "--disable-pip-version-check"], check=True)
        return subprocess.call(
            # the cache of pytest belongs to a run of the suite, which may go on beside this one
            [sys.executable, "-m", "pytest", BOOKSTORE, "-n", "0", "-q", "-p", "no:cacheprovider"],
            cwd=ROOT,
            env=os.environ | {"BOOKSTORE_PYTHON": str(python)},
        )


if __name__ == "__main__":
    sys.exit(main())
