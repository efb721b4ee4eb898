"""The Lua scripts that the response cache runs in Redis.

The text of a script stands in ``lua/<name>.lua``. Functions that scripts share stand in
``lua/shared``. Each script has a class of arguments here; their order is that of the script's
``unpack(ARGV)``. KEYS[1] is always the ``run_id`` of the server (``pcf.cache.redis_client``): what
an earlier run of the server has stored may lack the writes since, so no script believes it.

Keys in Redis, all of them with a time to live, behind the prefix ``P``:

==================  ===========================================================================
``P:seq``           the clock: microseconds since 1970, later after each write
``P:epoch``         the run_id of the server in whose epoch responses are stored
``P:o:<nonce>``     a process that is about to begin an epoch: run_id of the server
``P:db:<alias>``    the start of the PostgreSQL server whose data is cached
``P:g:<name>``      the generation of a dependency: the clock of its last write
``P:g:!``           the clock of the last flush of everything
``P:d:<name>``      the dependents: names of entries that depend on it, by the time they expire
``P:e:<name>``      an entry: ``m`` max-age and stale seconds, ``e`` tag, ``b`` body, ``z`` body in
                    gzip, ``s`` stale milliseconds, ``r`` run_id of the server that stored it
``P:e:token:<d>``   the credentials behind the token with the digest ``d``: ``b`` and ``r``
``P:f:<name>``      the flight for an entry that is being computed: its id
``P:n:<id>``        the number of requests that wait for a flight
``P:l:<id>``        the outcome of a flight, for the requests that wait
``P:m:<name>``      the transactions that block a dependency
``P:t:<t>``         the names that the transaction ``t`` blocks
``P:marked``        transactions that block names, by the time they began to
``P:s:<hour>``      hits and misses of an hour
``P:p``             digests of persisted documents, by the time of their last use
``P:p:<sha256>``    the text of a persisted document
``P:p#``            the bytes of all persisted documents
``P:p#:<client>``   the token bucket of the bytes that a client may still persist
``P:r:<client>``    the token bucket of a client
``P:b:<client>``    the token bucket of the bytes that a client may still store
``P:w:floor``       the WAL position below which positions of writes are unknown
``P:w:log``         WAL positions of writes, by clock
``P:w:v:<viewer>``  the WAL position of a viewer's last write
==================  ===========================================================================
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha1
from importlib.resources import files
from typing import Any, Generic, NamedTuple, TypeVar

A = TypeVar("A", bound=tuple[Any, ...])

POSITIONS_KEPT = 10_000  # writes in P:w:log
EPOCH_TTL = 30 * 86_400  # seconds; the outbox relay prolongs it


@dataclass(frozen=True, eq=False, slots=True)
class Script(Generic[A]):
    """A Lua script with its arguments' class; ``sha`` is the name that Redis knows it by."""

    name: str
    text: str
    sha: str
    arguments: type[A]


def _script(name: str, arguments: type[A], shared: Sequence[str] = ()) -> Script[A]:
    folder = files(__package__) / "lua"
    parts = [*(folder / "shared" / f"{part}.lua" for part in shared), folder / f"{name}.lua"]
    text = "\n".join(part.read_text(encoding="utf-8") for part in parts)
    return Script(name, text, sha1(text.encode(), usedforsecurity=False).hexdigest(), arguments)


# --- entries


class LookupArguments(NamedTuple):
    """What to look up; texts are empty where the caller has none.

    ``token`` is the digest of a token; without one the viewer is ``viewer``. ``shared`` is the name
    under which all viewers share the response ``digest``. ``coding`` is one that the client
    accepts, ``known_tag`` the tag that the client has. ``own_flight`` is the id of the flight that
    a miss begins, ``lease_ms`` its lease in milliseconds. ``hits`` and ``misses`` are added to the
    statistics. A request that leads a flight pays ``points`` (0 for none) from the bucket of its
    viewer, or from ``address_name``; ``*_rate`` are points a second.
    """

    prefix: str
    token: str
    viewer: str
    shared: str
    digest: str
    generation_ttl: int
    coding: str
    known_tag: str
    own_flight: str
    lease_ms: int
    hits: int
    misses: int
    points: int = 0
    address_name: str = ""
    address_size: int = 0
    address_rate: float = 0
    viewer_size: int = 0
    viewer_rate: float = 0


class StoreArguments(NamedTuple):
    """An entry to store; its fields and the names of its dependencies follow.

    ``clock`` and ``clock_run_id`` are those of the look-up before the reading began. ``flight`` is
    the id of the flight that the caller leads, or "".

    ``client`` pays ``bytes`` from its share of the memory and ``points`` from its bucket of points,
    as many as there are; without a client the entry is free.
    """

    prefix: str
    clock: bytes
    clock_run_id: bytes
    name: str
    ttl_ms: int
    flight: str
    field_count: int
    client: str = ""
    bytes: int = 0
    share_size: int = 0
    share_rate: float = 0
    points: int = 0
    points_size: int = 0
    points_rate: float = 0


class CompleteArguments(NamedTuple):
    """A flight to end: the ``name`` of its entry, its id, and the outcome for those that wait."""

    prefix: str
    name: str
    flight: str
    outcome: str


class RenewArguments(NamedTuple):
    """A flight whose lease is to last for ``lease_ms`` milliseconds from now."""

    prefix: str
    name: str
    id: str
    lease_ms: int


class OverviewArguments(NamedTuple):
    """Whose statistics to return."""

    prefix: str


LOOKUP = _script("lookup", LookupArguments, ["allow_memory", "take_tokens"])
STORE = _script("store", StoreArguments, ["complete_flight", "take_tokens"])
COMPLETE = _script("complete", CompleteArguments, ["complete_flight"])
RENEW = _script("renew", RenewArguments)
OVERVIEW = _script("overview", OverviewArguments)

# --- writes


class InvalidateArguments(NamedTuple):
    """The names to invalidate follow. ``generation_ttl`` is in seconds, here as below."""

    prefix: str
    generation_ttl: int


class DropArguments(NamedTuple):
    """The keys to remove follow."""

    prefix: str


class BlockArguments(NamedTuple):
    """The names that ``transaction`` blocks follow."""

    prefix: str
    generation_ttl: int
    transaction: str


class ReleaseArguments(NamedTuple):
    """The transaction whose names to release."""

    prefix: str
    generation_ttl: int
    transaction: str


class BlockedArguments(NamedTuple):
    """For how many seconds, at least, a transaction must have blocked names."""

    prefix: str
    seconds: int


INVALIDATE = _script(
    "invalidate", InvalidateArguments, ["allow_memory", "remove_dependents", "write"]
)
DROP = _script("drop", DropArguments, ["remove_dependents"])
BLOCK = _script("block", BlockArguments, ["allow_memory", "remove_dependents"])
RELEASE = _script("release", ReleaseArguments, ["allow_memory", "write"])
BLOCKED = _script("blocked", BlockedArguments)

# --- epochs


class AnnounceEpochArguments(NamedTuple):
    """The epoch that the process with this ``nonce`` is about to begin; ``ttl`` is in seconds."""

    prefix: str
    nonce: str
    ttl: int


class OpenEpochArguments(NamedTuple):
    """The epoch that was announced with ``nonce``; both times are in seconds."""

    prefix: str
    generation_ttl: int
    nonce: str
    ttl: int


ANNOUNCE_EPOCH = _script("announce_epoch", AnnounceEpochArguments)
OPEN_EPOCH = _script("open_epoch", OpenEpochArguments, ["write"])

# --- WAL positions, in bytes


class NeededPositionArguments(NamedTuple):
    """The viewer that wants to read."""

    prefix: str
    viewer: int | str


class SetFloorArguments(NamedTuple):
    """The position below which Redis knows of no write."""

    prefix: str
    generation_ttl: int
    position: int


class RecordPositionArguments(NamedTuple):
    """The position of a write; the log keeps the last ``most`` positions."""

    prefix: str
    generation_ttl: int
    position: int
    most: int


class RememberPositionArguments(NamedTuple):
    """The position of a viewer's last write."""

    prefix: str
    generation_ttl: int
    viewer: int | str
    position: int


class ClockOfArguments(NamedTuple):
    """The position that a replica has replayed; the log keeps the last ``most`` positions."""

    prefix: str
    position: int
    most: int


NEEDED_POSITION = _script("needed_position", NeededPositionArguments)
SET_FLOOR = _script("set_floor", SetFloorArguments)
RECORD_POSITION = _script("record_position", RecordPositionArguments)
REMEMBER_POSITION = _script("remember_position", RememberPositionArguments)
CLOCK_OF = _script("clock_of", ClockOfArguments)

# --- token buckets, persisted documents, the server


class ChargeArguments(NamedTuple):
    """A bucket by the name of its client, and the points to take from it.

    ``in_part`` is 1 to take what the bucket holds where that is less, else 0.
    """

    prefix: str
    client: str
    size: int
    rate: float
    points: int
    in_part: int = 0


class GetDocumentArguments(NamedTuple):
    """A document by the digest of its text; ``ttl`` is in seconds."""

    prefix: str
    digest: str
    ttl: int


class PutDocumentArguments(NamedTuple):
    """A document to keep for ``ttl`` seconds.

    ``most`` is how many there may be, ``most_bytes`` their bytes together. ``client`` may register
    ``client_bytes`` within ``ttl``.
    """

    prefix: str
    digest: str
    ttl: int
    text: bytes
    most: int
    most_bytes: int
    client: str
    client_bytes: int


class NoArguments(NamedTuple):
    """Nothing."""


CHARGE = _script("charge", ChargeArguments, ["allow_memory", "take_tokens"])
GET_DOCUMENT = _script("get_document", GetDocumentArguments)
PUT_DOCUMENT = _script("put_document", PutDocumentArguments, ["take_tokens"])
PING = _script("ping", NoArguments)
