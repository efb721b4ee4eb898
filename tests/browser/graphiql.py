"""GraphiQL in a real browser: type a query, run it, see the result; ``make check-browser``.

The program checks development, where every browser gets GraphiQL, and production, where members of
staff do. pytest does not run it, because it needs Chromium. It leaves pictures in .pcf/graphiql.png
and .pcf/graphiql-staff.png.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.browser.chromium import Failed, Page
from tests.browser.servers import PASSWORD, development, manage, production, service

QUERY = "{ users(first: 2) { id name } }"
RESULT = "document.querySelector('.result-window').innerText"
EDITOR = ".graphiql-query-editor .CodeMirror, .graphiql-query-editor"


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
        page.problems = [
            p for p in page.problems if "status of 401" not in p
        ]  # the browser has sent the query
        page.click("#pcf-token")
        page.type("test-token")
        page.click(EDITOR)
        page.type(QUERY)
        page.key("Enter", 13, control=True)
        page.wait_for(f'{RESULT}.includes(\'"id": "2"\')')

        # the schema has arrived, so the documentation is available
        page.click("button[aria-label*='Documentation Explorer']")
        picture = ROOT / ".pcf" / "graphiql.png"
        picture.parent.mkdir(exist_ok=True)
        page.wait_for("document.body.innerText.includes('UserErrorCode')")
        page.screenshot(picture)
        print(f"picture: {picture.relative_to(ROOT)}")
        if page.problems:
            raise Failed("the browser complained: " + "; ".join(page.problems))


def check_staff(url: str, token: str) -> None:
    with Page(url + "/graphql") as page:
        page.wait_for("document.body.innerText.includes('\"errors\"')")
        print("a stranger: no GraphiQL")
        page.problems.clear()  # the message of the refusal
        page.send("Page.navigate", url=url + "/admin/")
        page.wait_for("document.querySelector('#id_username') && true")
        for field, text in (("#id_username", "sue"), ("#id_password", PASSWORD)):
            page.click(field)
            page.type(text)
        page.key("Enter", 13)
        page.evaluate("document.querySelector('#login-form').submit()")
        page.wait_for("document.querySelector('#user-tools') && true")

        page.send("Page.navigate", url=url + "/graphql")
        page.wait_for(f"document.querySelector({EDITOR!r}) && true")
        page.click("#pcf-token")
        page.type(token)
        page.click(EDITOR)
        page.type("{ me { id name } }")
        page.key("Enter", 13, control=True)
        page.wait_for(f'{RESULT}.includes(\'"name": "Sue"\')')
        print("staff, in production: the viewer's own name")
        picture = ROOT / ".pcf" / "graphiql-staff.png"
        page.screenshot(picture)
        print(f"picture: {picture.relative_to(ROOT)}")
        expected = (
            "status of 422",
            "/favicon.ico",
        )  # introspection is off, and the admin has no icon
        problems = [it for it in page.problems if not any(known in it for known in expected)]
        if problems:
            raise Failed("the browser complained: " + "; ".join(problems))


def main() -> int:
    try:
        env = development()
        manage(env, "migrate", "--verbosity", "0")
        manage(env, "seed_demo")
        with service(env) as running:
            check(running.url)
        env = production("graphiql_of_staff")
        manage(env, "migrate", "--verbosity", "0")
        manage(env, "collectstatic", "--noinput", "--verbosity", "0")
        names = ("--username", "sue", "--email", "sue@example.org", "--name", "Sue")
        manage(env, "createsuperuser", "--noinput", *names)
        token = manage(env, "create_token", "sue", "--name", "GraphiQL")
        with service(env) as running:
            check_staff(running.url, token)
    except Failed as failure:
        print(f"failed: {failure}", file=sys.stderr)
        return 1
    print("GraphiQL works")
    return 0


if __name__ == "__main__":
    sys.exit(main())
