"""The operations of a load. Each one checks its answer.

One request at a time changes a note, and the numbers in titles only grow. So these rules hold:

* The author of a note reads at least the last number that the service had acknowledged when the
  query was sent, and never a number that was not sent.
* Another viewer may read an older number from a replica, but not from the cache.
* After the run, the primary has every acknowledged number and every acknowledged new note. It has
  no note twice, and no note whose creation was refused with SERVICE_UNAVAILABLE.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from http.client import HTTPException
from typing import Any

from tests.chaos.client import Client, Exchange
from tests.chaos.ledger import (
    BROKEN,
    PEOPLE,
    REFUSED,
    UNAVAILABLE,
    WRONG,
    Ledger,
    NoteRecord,
    token_of,
)

OUTSIDER = 0  # a viewer without notes
PATIENCE = 5.0  # seconds after a deadline for which an operation waits

UPDATE = """mutation ($id: ID!, $title: String!) {
  updateNote(input: {id: $id, title: $title}) { note { title } userErrors { code } } }"""
CREATE = """mutation ($title: String!) {
  createNote(input: {title: $title}) { note { id } userErrors { code } } }"""
READ = "query ($id: ID!) { note(id: $id) { title author { id } tags { name } } }"
GRAPH = "{ users(first: 8) { id notes(first: 3) { id author { id } tags { name } } } }"


class Unexpected(Exception):
    """The answer was a failure, or wrong; ``detail`` says how."""

    def __init__(self, outcome: str, detail: str = "") -> None:
        super().__init__(outcome, detail)
        self.outcome = outcome
        self.detail = detail


class Operations:
    """The operations of people and an outsider. Each raises Unexpected after a failure."""

    def __init__(self, client: Client, ledger: Ledger, deadline: float) -> None:
        self._client = client
        self._ledger = ledger
        self._deadline = deadline
        self._kinds: list[Callable[[Exchange], Awaitable[None]]] = [
            self.read_own, self.read_own_fresh, self.read_of_others, self.read_graph,
            self.read_graph, self.update, self.update, self.create,
        ]  # fmt: skip

    def choose(self) -> Callable[[Exchange], Awaitable[None]]:
        """Return a random operation."""
        return random.choice(self._kinds)

    async def read_own(self, exchange: Exchange) -> None:
        """Read a note as its author."""
        await self._read(exchange, fresh=False)

    async def read_own_fresh(self, exchange: Exchange) -> None:
        """Read a note as its author, without the cache."""
        await self._read(exchange, fresh=True)

    async def _read(self, exchange: Exchange, *, fresh: bool) -> None:
        note = random.choice(self._ledger.notes)
        least = note.acknowledged
        number, _ = await self._number(exchange, note, note.key, fresh=fresh)
        if not least <= number <= note.sent:
            raise Unexpected(WRONG, f"note {note.key}: {number}, not {least} to {note.sent}")

    async def read_of_others(self, exchange: Exchange) -> None:
        """Read a note as another viewer."""
        note = random.choice(self._ledger.notes)
        least = note.acknowledged
        number, hit = await self._number(exchange, note, OUTSIDER, fresh=False)
        if number > note.sent or (hit and number < least):
            raise Unexpected(WRONG, f"note {note.key}: {number} (hit: {hit}), {least} is written")

    async def _number(
        self, exchange: Exchange, note: NoteRecord, viewer: int, *, fresh: bool
    ) -> tuple[int, bool]:
        data, hit = await self._ask(exchange, READ, viewer, {"id": note.key}, fresh=fresh)
        found = data["note"]
        if found["author"]["id"] != str(note.key) or found["tags"] != [{"name": "chaos"}]:
            raise Unexpected(WRONG, f"note {note.key}: {found}")
        return int(found["title"].rpartition(" ")[2]), hit

    async def read_graph(self, exchange: Exchange) -> None:
        """Read a larger response whose content never changes."""
        data, _ = await self._ask(exchange, GRAPH, OUTSIDER, {}, fresh=random.random() < 0.5)
        users = data["users"]
        right = [
            {"id": str(key), "author": {"id": str(key)}, "tags": [{"name": "chaos"}]}
            for key in range(1, PEOPLE + 1)
        ]
        if [user["notes"][0] for user in users] != right:
            raise Unexpected(WRONG, json.dumps(data)[:300])

    async def update(self, exchange: Exchange) -> None:
        """Change a note that no other request is changing; create one if all are busy."""
        free = [note for note in self._ledger.notes if not note.busy]
        if not free:
            await self.create(exchange)
            return
        note = random.choice(free)
        note.busy = True
        try:
            note.sent += 1
            number = note.sent
            variables = {"id": note.key, "title": f"number {number}"}
            data, _ = await self._ask(exchange, UPDATE, note.key, variables)
            if data["updateNote"] != {"note": {"title": f"number {number}"}, "userErrors": []}:
                raise Unexpected(WRONG, json.dumps(data))
            note.acknowledged = number
        finally:
            note.busy = False

    async def create(self, exchange: Exchange) -> None:
        """Create a note with a unique title."""
        title = f"created {len(self._ledger.created) + 1}"
        self._ledger.created[title] = False
        try:
            data, _ = await self._ask(exchange, CREATE, PEOPLE + 1, {"title": title})
        except Unexpected as unexpected:
            if unexpected.outcome in {BROKEN, REFUSED}:
                self._ledger.unanswered.append(title)
            elif unexpected.outcome == UNAVAILABLE:
                self._ledger.refused.append(title)
            raise
        if data["createNote"]["userErrors"]:
            raise Unexpected(WRONG, json.dumps(data))
        self._ledger.created[title] = True

    async def _ask(
        self,
        exchange: Exchange,
        query: str,
        viewer: int,
        variables: dict[str, Any],
        *,
        fresh: bool = False,
    ) -> tuple[Any, bool]:
        """Send a query; return the data, and whether the answer was a hit."""
        headers = {}
        if viewer != OUTSIDER:
            headers["Authorization"] = f"Bearer {token_of(viewer)}"
        if fresh:
            headers["Cache-Control"] = "no-store"
        body = json.dumps({"query": query, "variables": variables}).encode()
        try:
            async with asyncio.timeout(self._deadline + PATIENCE):
                answer = await self._client.post(
                    "/graphql", body, headers, exchange, self._deadline
                )
        except ConnectionRefusedError as error:
            raise Unexpected(REFUSED) from error
        except (ConnectionError, TimeoutError, EOFError, HTTPException) as error:
            raise Unexpected(BROKEN, repr(error)) from error
        content = json.loads(answer.body)
        if errors := content.get("errors"):
            code = errors[0]["extensions"]["code"]
            raise Unexpected(code, f"{answer.status} {errors[0]['message']}")
        return content["data"], answer.headers["cache-status"] == "pcf; hit"
