"""The functions of the notes application, one after the other, as a person uses them."""

import json
from typing import Any

from tests.browser.account_steps import AccountSteps
from tests.browser.chromium import Failed
from tests.browser.steps import SAVED

ROWS = "document.querySelectorAll('.notes li').length"
COUNT = "Number((document.querySelector('.count')?.innerText ?? '').replace(/\\D/g, ''))"
TITLES = "[...document.querySelectorAll('.notes h2')].map((title) => title.innerText)"
_CHANGE = "mutation($input: {0}Input!) {{ {1}(input: $input) {{ note {{ id }} }} }}"
UPDATE, CREATE = (
    _CHANGE.format("UpdateNote", "updateNote"),
    _CHANGE.format("CreateNote", "createNote"),
)


class Walk(AccountSteps):
    """All functions, for one person."""

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
            p.wait_for(f"document.querySelector('textarea')?.value === '{wanted}: {choice}'")
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

    def slow(self) -> None:
        """Type while a note is saved; the text stays, and is not taken for saved."""
        p = self.person
        p.go("#/notes/new")
        p.fill("Title", "Slow")
        p.evaluate(
            "window.real = fetch; window.fetch = (...request) => real(...request).then("
            "(response) => new Promise((done) => setTimeout(done, 2000, response)))"
        )
        p.press("Save")
        p.fill("Text", "typed while it was saved")
        p.wait_for(r"/notes\/\d+/.test(location.hash)")
        p.wait_for("document.querySelector('textarea')?.value === 'typed while it was saved'")
        p.sees("Not saved yet", ".status")
        p.press("Save")
        p.wait_for(SAVED)
        texts = [note["content"] for note in self._own_notes("Slow")]
        if texts != ["typed while it was saved"]:
            raise Failed(f"a text is lost: {texts}")

    def _elsewhere(self, values: dict[str, Any]) -> None:
        """Change the open note as another tab would."""
        number = self.person.evaluate(r"location.hash.match(/notes\/(\d+)/)[1]")
        self.person.api(UPDATE, {"input": {"id": number, **values}})

    def _own_notes(self, beginning: str) -> list[dict[str, str]]:
        query = "{ me { notes(first: 100) { title content } } }"
        notes = self.person.api(query)["me"]["notes"]
        return [note for note in notes if note["title"].startswith(beginning)]
