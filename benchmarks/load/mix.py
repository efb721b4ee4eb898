"""The mix of requests (mix.toml): kinds, weights, viewers and variables."""

import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.load.client import Request
from benchmarks.load.sessions import Sessions, Viewer

GROUPS = ("detail", "list", "nested", "write", "session")
VIEWERS = ("any", "token")
REFRESH, LOG_IN = "$refresh-token", "$username"  # what the kinds of the group "session" send
DRAWN = (
    "$user", "$note", "$tag", "$user-cursor", "$note-cursor", "$own-note", "$word", "$text",
    REFRESH, LOG_IN, "$password",
)  # fmt: skip
ADDRESSES = 2_000  # network addresses of clients; the generator plays the proxy in front
PAGES = 20  # pages of a list that requests ask for
CHUNK = 512  # requests drawn at once; single draws are slower


class MixError(ValueError):
    """The mix is wrong; the message names the entry."""


@dataclass(frozen=True, slots=True)
class Targets:
    """The targets of a load, in seconds and shares; mix.toml explains them."""

    p99: float
    limit_p99: float
    success: float
    hit_rate: float
    batch_efficiency: float
    memory_growth: float
    lateness: float


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of request."""

    name: str
    group: str
    weight: float
    document: str
    viewer: str = "any"
    variables: dict[str, Any] = field(default_factory=dict)
    expected: str = ""  # the code of the user error that the right answer has

    @property
    def is_write(self) -> bool:
        """Whether the request changes data. Writes of the group "write" need a token."""
        return self.group in ("write", "session")

    @property
    def drawn(self) -> set[str]:
        """The texts of the variables that begin with $."""
        return {text for text in _texts(self.variables) if text[:1] == "$"}


@dataclass(frozen=True, slots=True)
class Mix:
    """The content of mix.toml."""

    kinds: tuple[Kind, ...]
    anonymous: float
    tokens: int
    exponent: float
    targets: Targets
    words: tuple[str, ...] = ()  # to search for, popular ones first


@dataclass(frozen=True, slots=True)
class World:
    """The data that requests may ask for: ids as texts, names of tags, viewers."""

    users: list[str]
    notes: list[str]
    tags: list[str]
    viewers: list[Viewer]


def read_mix(path: Path) -> Mix:
    """Read the mix in ``path``. Raises MixError."""
    try:
        content = tomllib.loads(path.read_text())
        viewers, targets = content["viewers"], Targets(**content["targets"])
        kinds = tuple(Kind(**entry) for entry in content["requests"])
        mix = Mix(
            kinds,
            float(viewers["anonymous"]),
            int(viewers["tokens"]),
            float(content["popularity"]["exponent"]),
            targets,
            tuple(map(str, content.get("search", {}).get("words", ()))),
        )
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise MixError(f"{path}: {error}") from error
    for kind in kinds:
        if kind.group not in GROUPS or kind.viewer not in VIEWERS or not kind.weight > 0:
            raise MixError(f"{path}: {kind.name}: group {GROUPS}, viewer {VIEWERS}, weight > 0")
        if kind.group == "write" and kind.viewer != "token":
            raise MixError(f"{path}: {kind.name}: a write needs viewer = 'token'")
        unknown = kind.drawn.difference(DRAWN)
        if unknown:
            raise MixError(f"{path}: {kind.name}: {unknown.pop()} is none of {' '.join(DRAWN)}")
        if (kind.group == "session") != (len(kind.drawn & {REFRESH, LOG_IN}) == 1):
            message = f"{REFRESH} or {LOG_IN} needs the group 'session', and the group needs one"
            raise MixError(f"{path}: {kind.name}: {message}")
    if not kinds or not 0 <= mix.anonymous <= 1 or mix.tokens < 0:
        raise MixError(f"{path}: needs requests, anonymous of 0 to 1 and tokens of 0 or more")
    return mix


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield value


class _Popular:
    """Items that are drawn by Zipf's law: the first one most often."""

    def __init__(self, items: list[Any], exponent: float) -> None:
        self.items = items
        self.weights = list(accumulate(1 / rank**exponent for rank in range(1, len(items) + 1)))

    def draw(self, random: Random) -> Any:
        return random.choices(self.items, cum_weights=self.weights)[0]


class Requests:
    """An endless sequence of requests. The same seed and answers give the same sequence.

    Without tokens every viewer is anonymous, and the kinds that need a token are left out. So are
    those of sessions without ``sessions``. A kind of sessions is left out for as long as all
    sessions wait for an answer, too.
    """

    def __init__(
        self,
        mix: Mix,
        world: World,
        address: tuple[str, int, str],
        seed: str,
        sessions: Sessions | None = None,
    ) -> None:
        self._random = Random(seed)
        self._seed = seed
        self._sent = 0
        self._sessions = sessions
        viewers = world.viewers
        self._numbers = [
            number
            for number, kind in enumerate(mix.kinds)
            if (sessions if kind.group == "session" else viewers or kind.viewer == "any")
        ]
        if not self._numbers:
            raise MixError("every request of the mix needs a token, and there are none")
        self._kinds = mix.kinds
        self._weights = list(accumulate(mix.kinds[n].weight for n in self._numbers))
        self._anonymous = mix.anonymous if viewers else 1.0
        shuffled = Random(seed.split("/", maxsplit=1)[0])
        popular = {
            "$user": world.users,
            "$note": world.notes,
            "$tag": world.tags,
            "$word": list(mix.words),
        }
        self._viewers = _Popular(viewers, mix.exponent) if viewers else None
        self._drawn = {
            name: _Popular(shuffled.sample(items, len(items)), mix.exponent)
            for name, items in popular.items()
        }
        for name, items in (("$user-cursor", world.users), ("$note-cursor", world.notes)):
            step = max(1, len(items) // PAGES)
            self._drawn[name] = _Popular([None, *items[step - 1 :: step]], mix.exponent)
        host, port, path = address
        self._head = (
            f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
            "Accept: application/json\r\nX-Forwarded-Proto: https\r\n"
        )
        self._documents = [json.dumps(kind.document) for kind in mix.kinds]

    def __iter__(self) -> Iterator[Request]:
        """Yield requests."""
        while True:
            numbers = self._random.choices(self._numbers, cum_weights=self._weights, k=CHUNK)
            for number in numbers:
                kind = self._kinds[number]
                if kind.group != "session":
                    yield Request(number, self._build(number, self._draw_viewer(kind)))
                elif self._sessions and (viewer := self._draw_session(kind, self._sessions)):
                    data = self._build(number, viewer, "")
                    viewer.refresh_token = None  # it is used
                    yield Request(number, data, partial(self._sessions.answered, viewer))

    def _draw_viewer(self, kind: Kind) -> Viewer | None:
        if self._viewers and (kind.viewer == "token" or self._random.random() >= self._anonymous):
            found: Viewer = self._viewers.draw(self._random)
            return found
        return None

    @staticmethod
    def _draw_session(kind: Kind, sessions: Sessions) -> Viewer | None:
        return sessions.to_refresh() if REFRESH in kind.drawn else sessions.to_log_in()

    def _build(self, number: int, viewer: Viewer | None, token: str | None = None) -> bytes:
        """Return a request of ``viewer`` with its token, or with ``token``."""
        kind = self._kinds[number]
        if token is None:
            token = viewer.token if viewer else ""
        self._sent += 1
        body = '{"query":' + self._documents[number]
        if kind.variables:
            body += ',"variables":' + json.dumps(self._fill(kind.variables, viewer))
        body += "}"
        credentials = f"Authorization: Bearer {token}\r\n" if token else ""
        client = self._random.randrange(ADDRESSES)
        credentials += f"X-Forwarded-For: 198.18.{client >> 8}.{client & 255}\r\n"
        return f"{self._head}{credentials}Content-Length: {len(body)}\r\n\r\n{body}".encode()

    def _fill(self, value: Any, viewer: Viewer | None) -> Any:
        if isinstance(value, dict):
            return {name: self._fill(inner, viewer) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._fill(inner, viewer) for inner in value]
        if isinstance(value, str) and value[:1] == "$":
            return self._draw(value, viewer)
        return value

    def _draw(self, name: str, viewer: Viewer | None) -> Any:
        if name == "$text":
            return f"Load {self._seed} {self._sent}"
        if viewer and name == "$own-note":
            return self._random.choice(viewer.own_notes)
        if viewer and name in (REFRESH, LOG_IN, "$password"):
            given = {REFRESH: viewer.refresh_token, LOG_IN: viewer.username}
            return given.get(name, viewer.password)
        return self._drawn[name].draw(self._random)
