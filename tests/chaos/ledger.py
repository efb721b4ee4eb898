"""The records of a load: a sample of each request, and a ledger of acknowledged changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

PEOPLE = 8

OK = "ok"
WRONG = "wrong"
LATE = "late"
BROKEN = "no answer"
REFUSED = "connection refused"
UNAVAILABLE = "SERVICE_UNAVAILABLE"
TIMEOUT = "TIMEOUT"


def token_of(person: int) -> str:
    """Return the text of a person's token."""
    return f"chaos-token-{person}"


@dataclass(frozen=True, slots=True)
class Sample:
    """One request: its times (monotonic seconds), its durations (seconds), its outcome."""

    kind: str
    due: float
    sent: float
    seconds: float  # from sending to the last byte of the answer: the service's time
    outcome: str  # OK, WRONG, LATE, BROKEN, REFUSED or the code of a GraphQL error
    detail: str = ""
    unread: float = 0.0  # from the last byte of the answer until the generator read it

    @property
    def overdue(self) -> float:
        """The seconds by which the generator sent the request too late."""
        return self.sent - self.due

    @property
    def since_due(self) -> float:
        """The seconds from the due time to the last byte of the answer."""
        return self.overdue + self.seconds


@dataclass
class NoteRecord:
    """The changes of one note. Only one request at a time changes a note."""

    key: int
    acknowledged: int = 0
    sent: int = 0
    busy: bool = False  # whether a request is changing it


def _notes() -> list[NoteRecord]:
    return [NoteRecord(number) for number in range(1, PEOPLE + 1)]


@dataclass
class Ledger:
    """The changes that clients sent, and the answers. Several loads may use one ledger in turn."""

    notes: list[NoteRecord] = field(default_factory=_notes)
    created: dict[str, bool] = field(
        default_factory=dict
    )  # by title, whether the service acknowledged it
    unanswered: list[str] = field(default_factory=list)  # titles of requests without an answer
    refused: list[str] = field(default_factory=list)  # titles whose answer was SERVICE_UNAVAILABLE

    def replace_with(self, other: Ledger) -> None:
        """Take over the content of another ledger."""
        vars(self).update(vars(other))


def outcomes(samples: Sequence[Sample]) -> Counter[str]:
    """Return the number of samples by outcome."""
    return Counter(sample.outcome for sample in samples)
