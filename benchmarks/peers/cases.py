"""The queries and the cases of the comparison."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

NOTE = "query Note($id: ID!) { note(id: $id) { id title author { name } } }"
FIELDS = "{ id title author { name } tags { name } }"
PAGE = f"query Page($after: ID!) {{ notes(first: 20, after: $after) {FIELDS} }}"
GRAPH = f"query Graph {{ users(first: 100) {{ id name notes {FIELDS} }} }}"  # the README's query
PAGES = 100  # pages that requests ask for
STEP = 20  # ids from the beginning of one page to that of the next


@dataclass(frozen=True, slots=True)
class Ask:
    """One request."""

    query: str
    variables: dict[str, str]

    def encode(self, *, integers: bool = False) -> bytes:
        """Return the HTTP request, which forbids stored answers, as bytes.

        ``integers`` is for peers whose ids are integers.
        """
        content: dict[str, object] = {"query": self.query}
        if self.variables:
            content["variables"] = self.variables
        if integers:
            content["query"] = self.query.replace("ID!", "Int!")
            content["variables"] = {name: int(text) for name, text in self.variables.items()}
        body = json.dumps(content).encode()
        head = (
            "POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            "Accept: application/json\r\nX-Forwarded-Proto: https\r\nCache-Control: no-store\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


@dataclass(frozen=True, slots=True)
class Case:
    """Requests of one kind: the rows of the table that have its name."""

    name: str
    asks: Sequence[Ask]


PAGE_ASKS = [Ask(PAGE, {"after": str(number * STEP)}) for number in range(PAGES)]
CHECKED = (  # what all peers have to answer alike
    *(Ask(NOTE, {"id": str(number)}) for number in range(1, 41)),  # some of them are private
    *PAGE_ASKS[::5],
    Ask(GRAPH, {}),
)


def cases(ids: Sequence[str]) -> tuple[Case, ...]:
    """Return the cases. ``ids`` are the notes that requests for one note ask for."""
    return (
        Case("the graph", [Ask(GRAPH, {})]),
        Case("one note", [Ask(NOTE, {"id": one}) for one in ids]),
        Case("a page of 20", PAGE_ASKS),
    )
