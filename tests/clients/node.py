"""Run clients of GraphQL from npm against a service with demo data; ``make check-clients``.

pytest does not run this program, because it needs Node 20 or later and npm. The packages are
installed once for each version of package-lock.json.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.browser.servers import development, manage, service

OLDEST_NODE = 20
CLIENTS = Path(__file__).parent
LOCK = CLIENTS / "package-lock.json"
MANIFEST = CLIENTS / "relay" / "persisted.json"  # the documents of Relay, by their ids
INSTALLED = CLIENTS / "node_modules" / ".installed.json"  # the lock file of the last installation


def has_node() -> bool:
    """Return whether there is a Node that is new enough."""
    if not shutil.which("node"):
        return False
    run = ["node", "--version"]
    version = subprocess.run(run, check=True, stdout=subprocess.PIPE, text=True).stdout
    return int(version.removeprefix("v").partition(".")[0]) >= OLDEST_NODE


def npm(*arguments: str, **environment: str) -> int:
    """Run npm in the folder of the clients and return its exit status."""
    env = {**os.environ, **environment}
    return subprocess.run(["npm", *arguments], cwd=CLIENTS, env=env, check=False).returncode


def install() -> int:
    """Install the packages if the lock file has changed; return npm's exit status."""
    if INSTALLED.is_file() and INSTALLED.read_bytes() == LOCK.read_bytes():
        return 0
    status = npm("ci", "--loglevel=error")
    if status == 0:
        INSTALLED.write_bytes(LOCK.read_bytes())
    return status


def run_tests() -> int:
    """Run the tests against two services: one trusts the documents of Relay, and no others."""
    served = development()
    manage(served, "migrate", "--verbosity", "0")
    manage(served, "seed_demo")
    trusting = {**served, "PCF_PERSISTED_MODE": "only", "PCF_PERSISTED_MANIFEST": str(MANIFEST)}
    with service(served) as running, service(trusting) as trusted:
        urls = {
            "PCF_URL": f"{running.url}/graphql",
            "PCF_TRUSTED_URL": f"{trusted.url}/graphql",
        }
        return npm("test", "--silent", **urls)


def main() -> int:
    if not has_node() or not shutil.which("npm"):
        print("the clients need Node 20 or later and npm", file=sys.stderr)
        return 1
    return install() or npm("run", "generate", "--silent") or run_tests()


if __name__ == "__main__":
    sys.exit(main())
