"""The queries and the cases of the comparison."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

SMALL = "query Note($id: ID!) { note(id: $id) { id title author { name } } }"
NESTED = "{ id name notes { id title author { name } tags { name } } }"
GRAPH = f"query Graph {{ users(first: 100) {NESTED} }}"  # the query of the README
LIST = "query Users($first: Int! = 20) { users(first: $first) { id name } }"
PART = f"query Part($first: Int! = 10) {{ users(first: $first) {NESTED} }}"
NOTES = 2_000  # notes that requests ask for


@dataclass(frozen=True, slots=True)
class Ask:
    """One request."""

    query: str
    variables: dict[str, object]

    def encode(self, *, no_store: bool = False, integers: bool = False) -> bytes:
        """Return the HTTP request as bytes. ``integers`` is for peers whose ids are integers."""
        content: dict[str, object] = {"query": self.query}
        if self.variables:
            content["variables"] = self.variables
        if integers and "id" in self.variables:
            content["query"] = self.query.replace("ID!", "Int!")
            content["variables"] = {"id": int(str(self.variables["id"]))}
        body = json.dumps(content).encode()
        store = "Cache-Control: no-store\r\n" if no_store else ""
        head = (
            "POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Accept: application/json\r\nX-Forwarded-Proto: https\r\n{store}"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


def small() -> Iterator[Ask]:
    """Yield requests for one note after another."""
    number = 0
    while True:
        number = number % NOTES + 1
        yield Ask(SMALL, {"id": str(number)})


def one_note() -> Iterator[Ask]:
    """Yield requests for the same note."""
    while True:
        yield Ask(SMALL, {"id": "1"})


def graph() -> Iterator[Ask]:
    """Yield requests for 100 users with their notes, authors and tags."""
    while True:
        yield Ask(GRAPH, {})


def mixed() -> Iterator[Ask]:
    """Yield a mix: 70 % notes, popular ones more often, 20 % lists, 10 % nested lists."""
    random = Random(1)
    weights = [1 / rank for rank in range(1, NOTES + 1)]
    notes = random.sample(range(1, NOTES + 1), NOTES)
    while True:
        for note in random.choices(notes, weights, k=100):
            draw = random.random()
            if draw < 0.7:
                yield Ask(SMALL, {"id": str(note)})
            elif draw < 0.9:
                yield Ask(LIST, {"first": 20})
            else:
                yield Ask(PART, {"first": 10})


@dataclass(frozen=True, slots=True)
class Case:
    """One column of the table."""

    name: str
    asks: Callable[[], Iterator[Ask]]
    cached: bool  # whether caches may answer


CASES = (
    Case("small, uncached", small, cached=False),
    Case("graph, uncached", graph, cached=False),
    Case("small, hit", one_note, cached=True),
    Case("graph, hit", graph, cached=True),
    Case("mixed", mixed, cached=True),
)
CHECKED = (
    *(Ask(SMALL, {"id": str(number)}) for number in range(1, 11)),  # two of them are private
    Ask(GRAPH, {}),
    Ask(LIST, {"first": 20}),
    Ask(PART, {"first": 10}),
)
