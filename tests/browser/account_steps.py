"""The steps of a walk that concern the account."""

import json
import re
import time

from tests.browser.chromium import PATIENCE, Failed
from tests.browser.steps import PASSWORD, SAVED, Steps, end_sessions, log_in, post


class AccountSteps(Steps):
    """Signing up and in, settings, the links of mails, what is refused."""

    def sign_up(self) -> None:
        """See what a form refuses; sign up, log out, log in."""
        p = self.person
        p.press("Sign up", "header")
        p.press("Sign up", "main")
        p.sees("The address is missing", "main")
        self.look("sign-up")
        p.fill("Your name", "Ada Lovelace")
        p.fill("Username", self.name)
        p.fill("E-mail address", f"{self.name}@example.org")
        p.fill("Password", PASSWORD)
        p.press("Sign up", "main")
        p.sees("No notes yet")
        p.press("Log out")
        p.sees("You are logged out")
        p.press("Log in")
        p.fill("Username or e-mail address", self.name)
        p.fill("Password", "wrong")
        p.press("Log in", "main")
        p.sees("The account or the password is wrong", "main")
        self.look("log-in", picture=False)
        p.fill("Password", PASSWORD)
        p.press("Log in", "main")
        p.sees("No notes yet")
        p.go("")  # the session outlives the page
        p.sees("No notes yet")

    def expired(self) -> None:
        """Lose the session while typing; log in, and save."""
        p = self.person
        p.go("#/notes/new")
        p.fill("Title", "After the session")
        end_sessions(p.url, self.name)
        p.press("Save")
        p.sees("Log in again", "dialog")
        self.look("expired")
        p.fill("Username or e-mail address", self.name, "dialog")
        p.fill("Password", PASSWORD, "dialog")
        p.press("Log in", "dialog")
        p.wait_for("!document.querySelector('dialog')")
        p.press("Save")
        p.wait_for(SAVED)
        p.problems = [it for it in p.problems if "status of 401" not in it]

    def settings(self) -> None:
        """Change the profile and the password; end a session; make and revoke a token."""
        p = self.person
        p.go("")
        p.press("Settings")
        p.fill("Your name", "Ada King")
        p.press("Save the profile")
        p.sees("The profile is saved")
        self.look("settings")
        self._export()
        p.fill("Current password", "wrong")
        p.fill("New password", PASSWORD + "!")
        p.press("Change the password")
        p.sees("password is wrong", "main")
        p.fill("Current password", PASSWORD)
        p.press("Change the password")
        p.sees("The password is changed")
        log_in(p.url, self.name, PASSWORD + "!", device="an old phone")
        p.go("#/settings")
        p.press("End the session of an old phone")
        p.sees("The session has ended")
        p.misses("an old phone")
        p.fill("Name of the token", "backup")
        p.fill("Days until it expires", "0")
        p.press("Make a token")
        p.wait_for("document.querySelector('[name=expiresInDays][aria-invalid]') && true")
        p.fill("Days until it expires", "30")
        p.press("Make a token")
        self.look("token", picture=False)
        token = p.wait_for("document.querySelector('dialog input')?.value")
        if post(p.url, "{ me { name } }", {}, f"Bearer {token}")["me"]["name"] != "Ada King":
            raise Failed("the new token does not work")
        p.press("Close", "dialog")
        p.press("Revoke the token backup")
        p.sees("The token is revoked")
        p.misses("backup")
        p.press("Log out everywhere")
        p.sees("All sessions have ended")
        p.press("Log in")
        p.fill("Username or e-mail address", self.name)
        p.fill("Password", PASSWORD + "!")
        p.press("Log in", "main")
        p.sees("New note", "header")

    def _export(self) -> None:
        """Read the file that the settings offer, with the cookie."""
        address = "document.querySelector('a[download]').href"
        code = f"fetch({address}).then((response) => response.json())"
        if "Bread" not in json.dumps(self.person.promised(code)):
            raise Failed("the exported file lacks a note")

    def mail(self) -> None:
        """Follow the links of mails: confirm the address, set another password."""
        p = self.person
        p.go(self._link("confirm-email"))
        p.sees("Your e-mail address is confirmed")
        p.go("#/confirm-email/wrong")
        p.sees("The link is not valid")
        self.look("confirm", picture=False)
        p.press("Log out")
        p.press("Log in")
        p.press("Forgot the password?")
        p.fill("Username or e-mail address", f"{self.name}@example.org")
        p.press("Send me a link")
        p.sees("If there is such an account")
        self.look("forgot", picture=False)
        p.go(self._link("reset-password"))
        p.fill("Password", "x" * 1_001)
        p.press("Set the password")
        p.wait_for("document.querySelector('[name=password][aria-invalid]') && true")
        p.fill("Password", PASSWORD + "?")
        p.press("Set the password")
        p.sees("The password is set")
        p.fill("Username or e-mail address", f"{self.name}@example.org")
        p.fill("Password", PASSWORD + "?")
        p.press("Log in", "main")
        p.sees("New note", "header")

    def _link(self, kind: str) -> str:
        """Wait for the link of a mail to this person; return its newest one."""
        address, end = f"To: {self.name}@example.org", time.monotonic() + PATIENCE
        while time.monotonic() < end:
            mails = self.mails.read_text().split("-" * 79)
            links = [
                link
                for mail in mails
                if address in mail
                for link in re.findall(rf"#/{kind}/\S+", mail)
            ]
            if links:
                return links[-1]
            time.sleep(0.1)
        raise Failed(f"no mail has the link {kind}")

    def close_account(self) -> None:
        """Close the account; its password works no more."""
        p = self.person
        p.press("Settings")
        p.fill("Your password", PASSWORD, ".closing")
        p.press("Close the account")
        p.sees("password is wrong", ".closing")
        p.fill("Your password", PASSWORD + "?", ".closing")
        p.press("Close the account")
        p.sees("Your account is closed")

    def throttled(self) -> None:
        """Try too many passwords."""
        p = self.person
        p.press("Log in")
        p.fill("Username or e-mail address", self.name)
        for attempt in range(6):
            p.fill("Password", f"guess {attempt}")
            p.press("Log in", "main")
            p.wait_for("!document.querySelector('main form button').disabled")
        p.sees("Too many log-ins failed", "main")
