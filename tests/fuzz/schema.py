"""Run schemathesis, which sends operations generated from the schema; ``make schemathesis``.

pytest does not run this program. Its packages are in an environment in .pcf. ``PCF_FUZZ_EXAMPLES``
is the number of operations for each root field (100).
"""

import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.browser.graphiql import development, manage, service

REQUIREMENTS = ROOT / "requirements-schemathesis.txt"
ENVIRONMENT = ROOT / ".pcf" / "schemathesis"


def ensure_environment() -> Path:
    """Return the program. Install it if its requirements have changed."""
    stamp = ENVIRONMENT / "requirements.txt"
    if not stamp.is_file() or stamp.read_bytes() != REQUIREMENTS.read_bytes():
        venv.create(ENVIRONMENT, with_pip=True, clear=True)
        pip = [ENVIRONMENT / "bin" / "python", "-m", "pip", "install", "--quiet"]
        options = ["--disable-pip-version-check", "--require-hashes", "-r", REQUIREMENTS]
        subprocess.run([*pip, *options], check=True)
        stamp.write_bytes(REQUIREMENTS.read_bytes())
    return ENVIRONMENT / "bin" / "schemathesis"


def main() -> int:
    program = ensure_environment()
    examples = os.environ.pop("PCF_FUZZ_EXAMPLES", "100")
    served = development()
    manage(served, "migrate", "--verbosity", "0")
    manage(served, "seed_demo")
    env = {**os.environ, "SCHEMATHESIS_HOOKS": "checks", "PYTHONPATH": str(Path(__file__).parent)}
    with service(served) as running:
        for token in ([], ["-H", "Authorization: Bearer test-token"]):
            run = [program, "run", f"{running.url}/graphql", "--phases", "fuzzing", "-n", examples]
            options = ["--checks", "graphql_answer", "--request-timeout", "30", *token]
            status = subprocess.run([*run, *options], env=env, cwd=ROOT / ".pcf", check=False)
            if status.returncode:
                return status.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
