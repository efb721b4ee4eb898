"""Sign-up by invitation and closed sign-up, and a service that answers 503 or not at all."""

import os
import signal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.browser.chromium import Failed
from tests.browser.person import Person
from tests.browser.servers import development, manage, service
from tests.browser.steps import PASSWORD, SAVED, Steps
from tests.database.tcp_proxy import Proxy

NAME = "grace"
_TRY_AGAIN = "document.querySelector('.editor .notice button')"
ADDRESS = f"{NAME}@example.org"
_ASKED = (
    "status of 409", "status of 503", "ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET",
    "ERR_EMPTY_RESPONSE",
)  # fmt: skip


class InvitedSteps(Steps):
    """A person with an invitation, and the failures that the person meets."""

    def invited(self, env: dict[str, str]) -> None:
        """Sign up by the link of an invitation, and by nothing else; nobody has a username."""
        p = self.person
        self._fill_in("#/sign-up", ADDRESS, NAME)
        p.sees("Nobody has a username here", "main")
        self._fill_in("#/sign-up", ADDRESS)
        p.sees("The invitation is not valid", "main")
        self.look("invited")
        invitation = manage(env, "invite", ADDRESS).splitlines()[-1]  # behind the mail
        self._fill_in(f"#/sign-up/{invitation}", "another@example.org")
        p.sees("The invitation is not valid", "main")
        self._fill_in(f"#/sign-up/{invitation}", ADDRESS)
        p.sees("No notes yet")
        if p.api("{ me { confirmedEmail } }")["me"]["confirmedEmail"] != ADDRESS:
            raise Failed("the invitation has not confirmed the address")

    def closed(self) -> None:
        """Learn that nobody can sign up."""
        self._fill_in("#/sign-up", ADDRESS)
        self.person.sees("Nobody can sign up here", "main")
        self.look("closed")

    def unavailable(self, proxy: Proxy) -> None:
        """Save a note, and open the list, while the service has no database."""
        p = self.person
        self._begin_note("Storm")
        proxy.refusing = True
        proxy.cut()
        p.press("Save")
        p.sees("The service is busy. Try again", ".editor")
        self.look("unavailable")
        p.fill("Text", "typed in the storm")
        proxy.refusing = False
        p.press("Try again", ".editor")
        p.wait_for(SAVED)
        proxy.refusing = True
        proxy.cut()
        p.go("")
        p.sees("The service is busy. Try again", "main")
        proxy.refusing = False
        p.press("Try again", "main")
        p.sees("Storm", ".notes")
        self._check_once("Storm", "typed in the storm")

    def silent(self, process: Any) -> None:
        """Save a note while the service does not answer; it is not made twice."""
        p = self.person
        self._begin_note("Silence")
        # The page waits for 35 seconds. A test does not.
        p.evaluate(
            "window.real = AbortSignal.timeout.bind(AbortSignal);"
            " AbortSignal.timeout = (ms) => real(ms / 20)"
        )
        group = [process.pid, *children(process.pid)]
        for each in group:
            os.kill(each, signal.SIGSTOP)
        try:
            p.press("Save")
            p.sees("The service cannot be reached", ".editor")
            self.look("silent", picture=False)
        finally:
            for each in reversed(group):
                os.kill(each, signal.SIGCONT)
        p.evaluate("AbortSignal.timeout = real; true")
        p.fill("Text", "typed in the silence")
        self._try_until_saved()
        self._check_once("Silence", "typed in the silence")

    def begin_away(self) -> None:
        """Have a text that is not saved when the service goes away."""
        self._begin_note("Restart")

    def away(self) -> None:
        """Save it meanwhile."""
        self.person.press("Save")
        self.person.sees("The service cannot be reached", ".editor")

    def back(self) -> None:
        """Find the service again after its restart."""
        self._try_until_saved()
        self._check_once("Restart", "")

    def check_problems(self) -> None:
        """Fail for what the browser complained of, but for the failures that were meant."""
        others = [it for it in self.person.problems if not any(part in it for part in _ASKED)]
        if others:
            raise Failed("the browser complained: " + "; ".join(others))

    def _try_until_saved(self) -> None:
        """Wait for the page, which tries again by itself after 5 seconds; help where it does not.

        It does not while the service still works on the first request (409).
        """
        for _ in range(10):
            if self.person.comes_true(SAVED, 6):
                return
            self.person.evaluate(f"{_TRY_AGAIN}?.click()")
        raise Failed("the note is never saved")

    def _begin_note(self, title: str) -> None:
        self.person.go("#/notes/new")
        self.person.fill("Title", title)

    def _fill_in(self, address: str, email: str, username: str = "") -> None:
        p = self.person
        p.go(address)
        for field, text in (
            ("Your name", "Grace"), ("Username", username), ("E-mail address", email),
            ("Password", PASSWORD),
        ):  # fmt: skip
            if text:
                p.fill(field, text)
        p.press("Sign up", "main")

    def _check_once(self, title: str, content: str) -> None:
        query = "{ me { notes(first: 100) { title content } } }"
        notes = self.person.api(query)["me"]["notes"]
        texts = [note["content"] for note in notes if note["title"] == title]
        if texts != [content]:
            raise Failed(f"the note {title} has the texts {texts}")


def children(pid: int) -> list[int]:
    """Return the ids of the workers of a service."""
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def check_failures() -> None:
    """Take one person through the modes of sign-up, and through the failures of the service."""
    address = urlsplit(os.environ["DATABASE_URL"])
    closed = {**development(), "USERS_SIGN_UP": "closed"}
    with service(closed) as running, Person(running.url) as person:
        InvitedSteps(person, "closed", small=False, mails=Path(os.devnull)).closed()
        print("closed: nobody can sign up")
    with Proxy(str(address.hostname), address.port or 5432) as proxy:
        through = address._replace(netloc=f"{address.username}@127.0.0.1:{proxy.port}").geturl()
        env = {**development(), "USERS_SIGN_UP": "invited", "DATABASE_URL": through}
        env["USERS_USERNAMES"] = "false"
        with service(env) as running, Person(running.url) as person:
            steps = InvitedSteps(person, "invited", small=False, mails=Path(os.devnull))
            steps.invited(env)
            print("invited: sign up by the link of an invitation")
            steps.unavailable(proxy)
            steps.silent(running.process)
            steps.begin_away()
            running.stop()
            steps.away()
            running.start()
            steps.back()
            steps.check_problems()
            print("failures: 503, no answer, no service, and back")
