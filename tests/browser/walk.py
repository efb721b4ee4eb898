"""The functions of the notes application, one after the other, as a person uses them."""

import json
import re
import time
import urllib.request
from pathlib import Path
from typing import Any

from tests.browser.chromium import PATIENCE, Failed
from tests.browser.person import Person
from tests.browser.servers import ROOT

PASSWORD = "correct horse battery"
ROWS = "document.querySelectorAll('.notes li').length"
COUNT = "Number((document.querySelector('.count')?.innerText ?? '').replace(/\\D/g, ''))"
TITLES = "[...document.querySelectorAll('.notes h2')].map((title) => title.innerText)"
SAVED = "document.querySelector('.status')?.innerText === 'Saved'"
_CHANGE = "mutation($input: {0}Input!) {{ {1}(input: $input) {{ note {{ id }} }} }}"
UPDATE, CREATE = (
    _CHANGE.format("UpdateNote", "updateNote"),
    _CHANGE.format("CreateNote", "createNote"),
)


class Walk:
    """The functions of the application, one after the other, for one person."""

    def __init__(self, person: Person, name: str, *, small: bool, mails: Path) -> None:
        self.person = person
        self.mails = mails  # a file that grows
        self.name = name
        self.small = small  # the window shows either the list or a note

    def look(self, view: str, *, picture: bool = True) -> None:
        """Let axe-core look at the view, and keep a picture."""
        self.person.check_accessibility(f"{self.name}, {view}")
        if picture:
            self.person.screenshot(ROOT / ".pcf" / f"app-{self.name}-{view}.png")

    def close(self) -> None:
        """Go back to the list, where it is covered."""
        if self.small:
            self.person.press("All notes")

    # --- nobody has logged in

    def read(self) -> None:
        """Scroll, open a note, go back to the same place; search; choose tags."""
        p = self.person
        p.wait_for(f"{COUNT} >= 8000")
        p.wait_for(f"{ROWS} >= 20")
        self.look("list")
        p.evaluate("document.querySelector('.more').scrollIntoView()")
        p.wait_for(f"{ROWS} >= 40")
        title = p.evaluate(f"{TITLES}[30]")
        scrolled = "[...document.querySelectorAll('.lists, .list')].map((list) => list.scrollTop)"
        place = f"Math.round(Math.max(...{scrolled}))"
        p.press(title.split("\n")[0], ".notes li:nth-child(31)")
        p.wait_for(f"document.querySelector('article h2')?.innerText === {json.dumps(title)}")
        before = p.evaluate(place)
        self.look("reader")
        p.evaluate("history.back()")
        p.wait_for("!document.querySelector('article')")
        if p.evaluate(place) != before or not before or p.evaluate(ROWS) < 40:
            raise Failed("the list has moved")
        p.wait_for("document.activeElement.closest('.notes li:nth-child(31)') && true")
        p.fill("Search notes", "budget me")
        p.wait_for("document.querySelectorAll('.snippet mark').length > 1")
        p.wait_for(f"{TITLES}.length === 20")
        self.look("search")
        count = p.wait_for(f"{COUNT} < 8000 && {COUNT}")
        p.press("work")
        p.wait_for(f"{COUNT} < {count}")
        p.wait_for(
            "[...document.querySelectorAll('.notes .tags')].every("
            "(tags) => tags.innerText.includes('work'))"
        )
        p.press("Without the tag work")
        p.wait_for(f"{COUNT} === {count}")
        p.fill("Search notes", "no-such-word")
        p.sees("No note matches.")
        p.press("Notes")
        p.wait_for(f"{COUNT} >= 8000")

    # --- accounts

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

    # --- writing

    def write(self) -> None:
        """Create a note, see what is refused, change it, share it."""
        p = self.person
        p.press("New note")
        p.fill("Text", "500 g flour, 350 g water.\n\nFold four times. <b>Salt</b> comes last.")
        p.press("Save")
        p.sees("must have a value", ".editor")
        p.fill("Title", "Bread & butter")
        p.fill("Add a tag", "recipes")
        p.press_key("Enter")
        p.fill("Add a tag", f"Baking {self.name}")  # a tag that nobody has made
        p.press_key("Enter")
        self.look("new")
        p.press("Save")
        p.sees("The note is saved.")
        p.wait_for(SAVED)
        p.fill("Title", "Bread")
        p.press_key("s", control=True)
        p.wait_for(SAVED)
        p.press(f"Remove the tag Baking {self.name}")
        p.press("Everybody may read it")
        p.press("Save")
        p.press("Copy link")
        self.look("editor")
        self.close()
        p.wait_for(f"{TITLES}[0] === 'Bread'")
        p.sees("shared", ".notes")
        p.misses("Baking", ".notes")
        p.press("Everybody's")
        p.wait_for("document.querySelector('.scopes [aria-current]').innerText !== 'My notes'")
        p.sees("Bread", ".notes")
        p.press("My notes")
        p.sees("1 note")

    def conflict(self) -> None:
        """Edit what another tab has changed meanwhile; choose each way out."""
        p = self.person
        for choice in ("Discard mine", "Replace it by mine", "Keep both: mine becomes a new note"):
            note = p.api(CREATE, {"input": {"title": f"Plan {choice}", "content": "the first"}})
            p.go(f"#/notes/{note['createNote']['note']['id']}")
            p.fill("Text", f"mine: {choice}")
            self._elsewhere({"content": f"theirs: {choice}"})
            p.press("Save")
            p.sees(f"mine: {choice}", "dialog")
            p.sees(f"theirs: {choice}", "dialog")
            self.look("conflict")
            p.press_key("Escape")  # goes on typing
            p.wait_for("!document.querySelector('dialog')")
            p.press("Save")
            p.press(choice, "dialog")
            p.wait_for(SAVED)
            wanted = "theirs" if choice == "Discard mine" else "mine"
            p.wait_for(f"document.querySelector('textarea').value === '{wanted}: {choice}'")
        texts = [note["content"] for note in self._own_notes("Plan")]
        if sorted(texts) != sorted(
            ["theirs: Discard mine", "mine: Replace it by mine"]
            + [f"{who}: {choice}" for who in ("mine", "theirs")]
        ):
            raise Failed(f"a text is lost: {texts}")

    def trash(self) -> None:
        """Delete and undo; delete, restore from the trash, delete for ever."""
        p = self.person
        p.api(CREATE, {"input": {"title": "Old list"}})
        p.go("")
        p.press("Old list")
        p.press("Move to the trash")
        p.sees("The note is in the trash")
        p.misses("Old list", ".notes")
        p.press("Undo")
        p.sees("Old list", ".notes")
        p.press("Old list")
        p.press("Move to the trash")
        p.press("Trash")
        p.press("Restore Old list")
        p.sees("The trash is empty")
        p.press("Notes")
        p.press("Old list")
        p.press("Move to the trash")
        p.press("Trash")
        p.sees("Old list", ".rows")
        self.look("trash")
        p.press("Delete Old list for ever")
        self.look("purge", picture=False)
        p.press("Delete for ever", "dialog")
        p.sees("The trash is empty")
        p.press("Notes")

    # --- what goes wrong

    def offline(self) -> None:
        """Lose the network, and answers; no text is lost, and no note is made twice."""
        p = self.person
        p.go("#/notes/new")
        p.fill("Title", "Tunnel")
        p.network(on=False)
        p.press("Save")
        p.sees("The service cannot be reached", ".editor")
        self.look("offline")
        p.fill("Text", "typed in the tunnel")
        p.network(on=True)  # the page sends the note again by itself, and then what was typed since
        p.wait_for(SAVED)
        p.go("#/notes/new")
        p.fill("Title", "Lost answer")
        p.evaluate(
            "window.real = fetch; window.fetch = (...request) =>"
            " real(...request).then(() => { throw new TypeError('lost') })"
        )
        p.press("Save")
        p.sees("The service cannot be reached", ".editor")
        p.go("#/notes/new")  # a reload keeps the text and the key
        p.wait_for("document.querySelector('.title').value === 'Lost answer'")
        p.fill("Text", "typed after the reload")
        p.press("Save")
        p.wait_for(SAVED)
        found = {note["title"]: note["content"] for note in self._own_notes("")}
        titles = [note["title"] for note in self._own_notes("")]
        if titles.count("Tunnel") != 1 or titles.count("Lost answer") != 1:
            raise Failed(f"a note was made twice: {titles}")
        if (found["Tunnel"], found["Lost answer"]) != (
            "typed in the tunnel",
            "typed after the reload",
        ):
            raise Failed(f"a text is lost: {found}")
        p.problems = [it for it in p.problems if "INTERNET_DISCONNECTED" not in it]

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
        if _post(p.url, "{ me { name } }", {}, f"Bearer {token}")["me"]["name"] != "Ada King":
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

    def _export(self) -> None:
        """Read the file that the settings offer, with the cookie."""
        address = "document.querySelector('a[download]').href"
        code = f"fetch({address}).then((response) => response.json())"
        if "Bread" not in json.dumps(self.person.promised(code)):
            raise Failed("the exported file lacks a note")

    def _elsewhere(self, values: dict[str, Any]) -> None:
        """Change the open note as another tab would."""
        number = self.person.evaluate(r"location.hash.match(/notes\/(\d+)/)[1]")
        self.person.api(UPDATE, {"input": {"id": number, **values}})

    def _own_notes(self, beginning: str) -> list[dict[str, str]]:
        query = "{ me { notes(first: 100) { title content } } }"
        notes = self.person.api(query)["me"]["notes"]
        return [note for note in notes if note["title"].startswith(beginning)]


def end_sessions(url: str, username: str) -> None:
    """End all sessions of a person, as the person would on another device."""
    token = log_in(url, username, PASSWORD)
    _post(url, "mutation { logOutEverywhere { count } }", {}, f"Bearer {token}")


def log_in(url: str, username: str, password: str, device: str = "") -> str:
    """Log in on another device; return its access token."""
    given = {"username": username, "password": password, "device": device}
    query = "mutation($input: LogInInput!) { logIn(input: $input) { accessToken } }"
    token: str = _post(url, query, {"input": given})["logIn"]["accessToken"]
    return token


def _post(url: str, query: str, variables: dict[str, Any], authorization: str = "") -> Any:
    body = json.dumps({"query": query, "variables": variables}).encode()
    headers = {"Content-Type": "application/json"}
    if authorization:
        headers["Authorization"] = authorization
    request = urllib.request.Request(url + "/graphql", body, headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)["data"]
