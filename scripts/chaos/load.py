"""A steady load of queries and mutations that checks every answer it gets.

Open loop: requests are sent when they are due, whether or not earlier ones have been answered. Each
is a connection of its own with a deadline of its own (``X-Request-Timeout``).

What makes an answer right, with one writer at a time for each note and numbers that only grow:

* its author sees at least the last number that was acknowledged when the request was sent, and none
  that was never sent;
* another viewer may see an older number from a replica, but not from the cache;
* after the run, the primary has every acknowledged number and every acknowledged new note, no note
  twice, and none that was refused with SERVICE_UNAVAILABLE.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from typing import Any

PEOPLE = 8
OUTSIDER = 0  # a viewer who owns no note
THREADS = 128
GRACE = 1.0  # seconds that the network and a busy machine may add to a deadline

OK = "ok"
WRONG = "wrong"
LATE = "late"
BROKEN = "no answer"
REFUSED = "connection refused"
UNAVAILABLE = "SERVICE_UNAVAILABLE"
TIMEOUT = "TIMEOUT"

UPDATE = """mutation ($id: ID!, $title: String!) {
  updateNote(input: {id: $id, title: $title}) { note { title } userErrors { code } } }"""
CREATE = """mutation ($title: String!) {
  createNote(input: {title: $title}) { note { id } userErrors { code } } }"""
READ = "query ($id: ID!) { note(id: $id) { title author { id } tags { name } } }"
GRAPH = "{ users(first: 8) { id notes(first: 3) { id author { id } tags { name } } } }"


def token_of(person: int) -> str:
    """The text of a person's token."""
    return f"chaos-token-{person}"


@dataclass(frozen=True, slots=True)
class Sample:
    """One request: when it was sent (monotonic seconds), how long it took, what came of it."""

    kind: str
    sent: float
    seconds: float
    outcome: str  # OK, WRONG, LATE, BROKEN, REFUSED or the code of a GraphQL error
    detail: str = ""


@dataclass
class Note:
    """What clients know of a note with one writer."""

    key: int
    acknowledged: int = 0
    sent: int = 0
    writer: threading.Lock = field(default_factory=threading.Lock)


class Book:
    """What clients were promised: outlives the load, so that one may follow another."""

    def __init__(self) -> None:
        self.notes = [Note(number) for number in range(1, PEOPLE + 1)]
        self.created: dict[str, bool] = {}  # titles, with whether the answer came
        self.unanswered: list[str] = []  # titles that were sent and never answered
        self.refused: list[str] = []  # titles that were answered with SERVICE_UNAVAILABLE
        self.numbers = count(1)


class Unexpected(Exception):
    """The answer was not what it had to be: an outcome and what was wrong."""

    def __init__(self, outcome: str, detail: str = "") -> None:
        super().__init__(outcome, detail)
        self.outcome = outcome
        self.detail = detail


class Load:
    """``rate`` requests a second to a port of 127.0.0.1 until stopped; then see ``samples``.

    ``deadline`` is every request's own limit in seconds; ``book`` is what was promised before and
    is promised now.
    """

    def __init__(self, port: int, book: Book, *, rate: float, deadline: float) -> None:
        self.samples: list[Sample] = []
        self.overdue = 0.0  # seconds by which the generator itself was late, at worst
        self.book = book
        self._port = port
        self._rate = rate
        self._deadline = deadline
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="load")
        self._clock = threading.Thread(target=self._send_when_due, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._clock.start()

    def stop(self) -> list[Sample]:
        """Send no more, wait for all answers; all samples in the order of sending."""
        self._stop.set()
        self._clock.join()
        self._pool.shutdown()
        self.samples.sort(key=lambda sample: sample.sent)
        return self.samples

    def _send_when_due(self) -> None:
        due = time.monotonic()
        kinds: list[Callable[[], None]] = [
            self._read_own, self._read_own_fresh, self._read_of_others, self._read_graph,
            self._read_graph, self._update, self._update, self._create,
        ]  # fmt: skip
        while not self._stop.is_set():
            self._pool.submit(self._measure, random.choice(kinds), due)
            due += 1 / self._rate
            self._stop.wait(max(0.0, due - time.monotonic()))

    def _measure(self, kind: Callable[[], None], due: float) -> None:
        sent = time.monotonic()
        self.overdue = max(self.overdue, sent - due)
        outcome, detail = OK, ""
        try:
            kind()
        except Unexpected as unexpected:
            outcome, detail = unexpected.outcome, unexpected.detail
        except Exception as error:  # noqa: BLE001 - whatever it is, it is reported
            outcome, detail = WRONG, repr(error)
        seconds = time.monotonic() - sent
        if outcome == BROKEN and seconds >= self._deadline:
            outcome = TIMEOUT  # the service hangs up on an answer that is not written in time
        if seconds > self._deadline + GRACE and outcome != WRONG:
            outcome, detail = LATE, f"{outcome} after {seconds:.2f} s"
        name = kind.__name__.removeprefix("_")
        self.samples.append(Sample(name, sent, seconds, outcome, detail))

    def _read_own(self) -> None:
        self._read(fresh=False)

    def _read_own_fresh(self) -> None:
        self._read(fresh=True)

    def _read(self, *, fresh: bool) -> None:
        """The author reads: nothing older than what was acknowledged to it."""
        note = random.choice(self.book.notes)
        least = note.acknowledged
        number, _ = self._number(note, note.key, fresh=fresh)
        if not least <= number <= note.sent:
            raise Unexpected(WRONG, f"note {note.key}: {number}, not {least} to {note.sent}")

    def _read_of_others(self) -> None:
        """Somebody else reads: nothing older than that from the cache."""
        note = random.choice(self.book.notes)
        least = note.acknowledged
        number, hit = self._number(note, OUTSIDER, fresh=False)
        if number > note.sent or (hit and number < least):
            raise Unexpected(WRONG, f"note {note.key}: {number} (hit: {hit}), {least} is written")

    def _number(self, note: Note, viewer: int, *, fresh: bool) -> tuple[int, bool]:
        data, hit = self._ask(READ, viewer, {"id": note.key}, fresh=fresh)
        found = data["note"]
        if found["author"]["id"] != str(note.key) or found["tags"] != [{"name": "chaos"}]:
            raise Unexpected(WRONG, f"note {note.key}: {found}")
        return int(found["title"].rpartition(" ")[2]), hit

    def _read_graph(self) -> None:
        """A larger response whose content never changes."""
        data, _ = self._ask(GRAPH, OUTSIDER, {}, fresh=random.random() < 0.5)
        users = data["users"]
        right = [
            {"id": str(key), "author": {"id": str(key)}, "tags": [{"name": "chaos"}]}
            for key in range(1, PEOPLE + 1)
        ]
        if [user["notes"][0] for user in users] != right:
            raise Unexpected(WRONG, json.dumps(data)[:300])

    def _update(self) -> None:
        """One writer at a time for each note; without a free note a new one is made."""
        notes = random.sample(self.book.notes, PEOPLE)
        note = next((it for it in notes if it.writer.acquire(blocking=False)), None)
        if note is None:
            self._create()
            return
        try:
            note.sent += 1
            number = note.sent
            variables = {"id": note.key, "title": f"number {number}"}
            data, _ = self._ask(UPDATE, note.key, variables)
            if data["updateNote"] != {"note": {"title": f"number {number}"}, "userErrors": []}:
                raise Unexpected(WRONG, json.dumps(data))
            note.acknowledged = number
        finally:
            note.writer.release()

    def _create(self) -> None:
        title = f"created {next(self.book.numbers)}"
        self.book.created[title] = False
        try:
            data, _ = self._ask(CREATE, PEOPLE + 1, {"title": title})
        except Unexpected as unexpected:
            if unexpected.outcome == BROKEN:
                self.book.unanswered.append(title)
            elif unexpected.outcome == UNAVAILABLE:
                self.book.refused.append(title)
            raise
        if data["createNote"]["userErrors"]:
            raise Unexpected(WRONG, json.dumps(data))
        self.book.created[title] = True

    def _ask(
        self, query: str, viewer: int, variables: dict[str, Any], *, fresh: bool = False
    ) -> tuple[Any, bool]:
        """The data of the answer and whether it came from the cache."""
        headers = {
            "Content-Type": "application/json",
            "X-Request-Timeout": f"{self._deadline:g}",
            "Connection": "close",
        }
        if viewer != OUTSIDER:
            headers["Authorization"] = f"Bearer {token_of(viewer)}"
        if fresh:
            headers["Cache-Control"] = "no-store"
        body = json.dumps({"query": query, "variables": variables})
        client = http.client.HTTPConnection("127.0.0.1", self._port, timeout=self._deadline + 5)
        try:
            client.connect()
        except ConnectionRefusedError as error:
            raise Unexpected(REFUSED) from error
        try:
            client.request("POST", "/graphql", body, headers)
            answer = client.getresponse()
            content = json.loads(answer.read())
        except (OSError, http.client.HTTPException) as error:
            raise Unexpected(BROKEN, repr(error)) from error
        finally:
            client.close()
        if errors := content.get("errors"):
            code = errors[0]["extensions"]["code"]
            raise Unexpected(code, f"{answer.status} {errors[0]['message']}")
        return content["data"], answer.headers["Cache-Status"] == "pcf; hit"


def outcomes(samples: list[Sample]) -> Counter[str]:
    """How often each outcome was seen."""
    return Counter(sample.outcome for sample in samples)
