"""What a load records: each request's sample, and what clients were promised."""

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
    """The text of a person's token."""
    return f"chaos-token-{person}"


@dataclass(frozen=True, slots=True)
class Sample:
    """One request: its moments (monotonic seconds), its durations (seconds), its outcome."""

    kind: str
    due: float
    sent: float
    seconds: float  # from sending to the arrival of the last byte: the service's time
    outcome: str  # OK, WRONG, LATE, BROKEN, REFUSED or the code of a GraphQL error
    detail: str = ""
    unread: float = 0.0  # from the arrival of the last byte until the generator read it

    @property
    def overdue(self) -> float:
        """Seconds by which the generator sent it too late."""
        return self.sent - self.due

    @property
    def since_due(self) -> float:
        """Seconds from the moment it was due to the arrival of the last byte."""
        return self.overdue + self.seconds


@dataclass
class Note:
    """What clients know of a note with one writer."""

    key: int
    acknowledged: int = 0
    sent: int = 0
    busy: bool = False  # a change of it is under way


def _notes() -> list[Note]:
    return [Note(number) for number in range(1, PEOPLE + 1)]


@dataclass
class Book:
    """What clients were promised: outlives the load, so that one may follow another."""

    notes: list[Note] = field(default_factory=_notes)
    created: dict[str, bool] = field(default_factory=dict)  # titles, with whether the answer came
    unanswered: list[str] = field(default_factory=list)  # titles that were sent, never answered
    refused: list[str] = field(default_factory=list)  # titles answered with SERVICE_UNAVAILABLE

    def replace_with(self, other: Book) -> None:
        """Hold what another book holds."""
        vars(self).update(vars(other))


def outcomes(samples: Sequence[Sample]) -> Counter[str]:
    """How often each outcome was seen."""
    return Counter(sample.outcome for sample in samples)
