"""GraphiQL in a real browser: type a query, run it, see the result; ``make check-browser``.

Not one of the tests, which need no browser. Needs Chromium; leaves a picture in .pcf/graphiql.png.
"""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.browser.chromium import PATIENCE, Failed, Page

QUERY = "{ users(first: 2) { id name } }"
RESULT = "document.querySelector('.result-window').innerText"
EDITOR = ".graphiql-query-editor .CodeMirror, .graphiql-query-editor"


@contextmanager
def service() -> Iterator[str]:
    """The address of a service with the demo data, on the servers of the environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = os.environ | {"DJANGO_SETTINGS_MODULE": "settings.development", "PORT": str(port)}
    for command in (["migrate", "--verbosity", "0"], ["seed_demo"]):
        subprocess.run([sys.executable, "manage.py", *command], cwd=ROOT, env=env, check=True)
    gunicorn = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "pcf.wsgi:application"]
    with subprocess.Popen(gunicorn, cwd=ROOT, env=env) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until_ready(url)
            yield url
        finally:
            process.terminate()


def wait_until_ready(url: str) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(url + "/readyz", timeout=5):
                return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def check(url: str) -> None:
    with Page(url + "/graphql") as page:
        page.wait_for(f"document.querySelector({EDITOR!r}) && true")
        page.click(EDITOR)
        page.type(QUERY)
        page.key("Enter", 13, control=True)
        page.wait_for(f'{RESULT}.includes(\'"id": "2"\')')
        status = page.evaluate("document.getElementById('pcf-status').textContent")
        print(f"{QUERY}: {status}")

        page.click("#pcf-token")
        page.type("test-token")
        page.click(EDITOR)
        page.type("{ me { id email } }")
        page.key("Enter", 13, control=True)
        page.wait_for(f'{RESULT}.includes(\'"email": "\')')
        print("with a token: the viewer's own address")

        page.click("#pcf-token")
        page.type("no-such-token")
        page.click(EDITOR)
        page.key("Enter", 13, control=True)
        page.wait_for(f"{RESULT}.includes('UNAUTHENTICATED')")
        page.problems = [p for p in page.problems if "status of 401" not in p]  # asked for
        page.click("#pcf-token")
        page.type("test-token")
        page.click(EDITOR)
        page.type(QUERY)
        page.key("Enter", 13, control=True)
        page.wait_for(f'{RESULT}.includes(\'"id": "2"\')')

        # the schema has come, so the documentation can be read
        page.click("button[aria-label*='Documentation Explorer']")
        picture = ROOT / ".pcf" / "graphiql.png"
        picture.parent.mkdir(exist_ok=True)
        page.wait_for("document.body.innerText.includes('UserErrorCode')")
        page.screenshot(picture)
        print(f"picture: {picture.relative_to(ROOT)}")
        if page.problems:
            raise Failed("the browser complained: " + "; ".join(page.problems))


def main() -> int:
    try:
        with service() as url:
            check(url)
    except Failed as failure:
        print(f"failed: {failure}", file=sys.stderr)
        return 1
    print("GraphiQL works")
    return 0


if __name__ == "__main__":
    sys.exit(main())
