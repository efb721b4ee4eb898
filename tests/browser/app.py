"""The notes application in a real browser, function by function; ``make check-browser``.

One person walks through it at a desktop in light colours, another one at a phone in dark ones, a
third one with the keyboard alone, a fourth one meets the failures of the service, a fifth one uses
it in production. axe-core looks at every view. pytest does not run the program, because it needs
Chromium. It leaves pictures in .pcf/app-*.png.
"""

import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.browser.chromium import Failed
from tests.browser.failures import check_failures
from tests.browser.person import DESKTOP, PHONE, Person
from tests.browser.servers import development, manage, production, service
from tests.browser.steps import PASSWORD
from tests.browser.walk import ROWS, TITLES, Walk


def keyboard(url: str) -> None:
    """Read, sign up, write and delete a note without a mouse."""
    with Person(url) as p:
        p.wait_for(f"{ROWS} >= 20")
        p.press_key("/")
        p.wait_for("document.activeElement.matches('[type=search]')")
        p.type("lighthouse")
        p.wait_for("document.querySelector('.snippet mark') && true")
        title = p.evaluate(f"{TITLES}[0]")
        p.tab_to(title)
        p.press_key("Enter")
        p.wait_for("document.activeElement.matches('.pane')")
        p.press_key("Escape")
        p.wait_for("document.activeElement.closest('.notes li:first-child') && true")
        p.go("")
        p.tab_to("Sign up")
        p.press_key("Enter")
        for field, text in (
            ("Your name", "Kay"), ("Username", "kay"), ("E-mail address", "kay@example.org"),
            ("Password", PASSWORD),
        ):  # fmt: skip
            p.tab_to(field)
            p.type(text)
        p.press_key("Enter")
        p.sees("No notes yet")
        p.tab_to("New note")
        p.press_key("Enter")
        p.wait_for("document.activeElement.matches('.pane')")
        for field, text in (("Title", "By hand"), ("Text", "No mouse.")):
            p.tab_to(field)
            p.type(text)
        p.press_key("s", control=True)
        p.sees("The note is saved")
        p.wait_for("document.activeElement.matches('.pane')")
        p.tab_to("Move to the trash")
        p.press_key("Enter")
        p.tab_to("Undo")
        p.press_key("Enter")
        p.sees("By hand", ".notes")
        check_problems(p)


def check_problems(person: Person) -> None:
    """Fail if the browser has complained, for instance of the content security policy."""
    if person.problems:
        raise Failed("the browser complained: " + "; ".join(person.problems))


def check_names(person: Person) -> None:
    """Fail if the page has loaded a static file whose name has no hash."""
    names = person.evaluate(
        "performance.getEntriesByType('resource').map(({name}) => new URL(name).pathname)"
    )
    files = [name for name in names if name.startswith("/static/")]
    plain = [name for name in files if not re.search(r"\.[0-9a-f]{12}\.\w+$", name)]
    if plain or len([name for name in files if name.endswith(".js")]) < 10:
        raise Failed(f"the page has loaded {files}; these have no hash: {plain}")


def walk(url: str, name: str, size: tuple[int, int], mails: Path, *, dark: bool) -> None:
    """Take one person through all functions."""
    small = size == PHONE
    with Person(url, size, dark=dark, touch=small) as person:
        steps = Walk(person, name, small=small, mails=mails)
        for step in (
            steps.read, steps.sign_up, steps.write, steps.conflict, steps.trash, steps.offline,
            steps.slow, steps.expired, steps.settings, steps.mail, steps.close_account,
            steps.throttled,
        ):  # fmt: skip
            try:
                step()
                check_problems(person)
            except Failed:
                person.screenshot(ROOT / ".pcf" / "app-failed.png")
                raise
            print(f"{name}: {(step.__doc__ or '').splitlines()[0]}")


def check_development() -> None:
    """Take all people through the service with the demo data."""
    env = development()
    manage(env, "migrate", "--verbosity", "0")
    manage(env, "seed_demo")
    mails = ROOT / ".pcf" / "app-mails.txt"
    with mails.open("w") as output, service(env, output) as running:
        walk(running.url, "desktop", DESKTOP, mails, dark=False)
        manage(env, "axes_reset")  # the last step of a walk locks the address
        walk(running.url, "phone", PHONE, mails, dark=True)
        manage(env, "axes_reset")
        keyboard(running.url)
        print("keyboard alone: read, sign up, write, delete, undo")


def check_production() -> None:
    """Write and find a note with the settings of production, which rename the files."""
    env = production("notes_application")
    manage(env, "migrate", "--verbosity", "0")
    manage(env, "collectstatic", "--noinput", "--verbosity", "0")
    with service(env) as running, Person(running.url) as person:
        person.sees("0 notes")
        check_names(person)
        steps = Walk(person, "production", small=False, mails=Path(os.devnull))
        for step in (steps.sign_up, steps.write, steps.conflict):
            step()
        check_problems(person)
        print("production: sign up, write")


def main() -> int:
    (ROOT / ".pcf").mkdir(exist_ok=True)
    try:
        check_development()
        check_failures()
        check_production()
    except Failed as failure:
        print(f"failed: {failure}", file=sys.stderr)
        return 1
    print("the notes application works")
    return 0


if __name__ == "__main__":
    sys.exit(main())
