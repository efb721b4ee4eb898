"""The sessions of viewers: the generator refreshes them, and uses no refresh token twice."""

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Viewer:
    """A person with a token. Without ``username`` the person has no session.

    ``refresh_token`` is the newest one of the session. It is None while a request for a new one is
    on its way, and after such a request had no answer.
    """

    token: str = field(repr=False)
    own_notes: list[str] = field(default_factory=list)  # ids
    username: str = ""
    password: str = field(default="", repr=False)
    refresh_token: str | None = field(default=None, repr=False)


class Sessions:
    """The sessions of one client process, which no other process refreshes.

    At most one request of a session is on its way. Each session waits for its turn, so that all are
    refreshed equally often. After a refresh without a usable answer nobody knows which token is the
    newest one, so the viewer logs in next.
    """

    def __init__(self, viewers: Sequence[Viewer]) -> None:
        people = [viewer for viewer in viewers if viewer.username]
        self._known = deque(viewer for viewer in people if viewer.refresh_token)
        self._unknown = deque(viewer for viewer in people if not viewer.refresh_token)

    def to_refresh(self) -> Viewer | None:
        """Return the viewer whose turn it is; None when no session can be refreshed now."""
        return self._known.popleft() if self._known else None

    def to_log_in(self) -> Viewer | None:
        """Return a viewer to log in, best one without a session; None when all are waiting."""
        waiting = self._unknown or self._known
        return waiting.popleft() if waiting else None

    def answered(self, viewer: Viewer, body: bytes | None) -> None:
        """Take the tokens out of an answer to a refresh or log-in; None stands for no answer."""
        tokens = _tokens_in(body)
        if tokens is None:
            viewer.refresh_token = None
            self._unknown.append(viewer)
        else:
            viewer.token, viewer.refresh_token = tokens
            self._known.append(viewer)


def _tokens_in(body: bytes | None) -> tuple[str, str] | None:
    """Return the access token and the refresh token of an answer; None without both."""
    try:
        (payload,) = json.loads(body or b"")["data"].values()
        tokens: list[Any] = [payload["accessToken"], payload["refreshToken"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    access, refresh = tokens
    return (access, refresh) if isinstance(access, str) and isinstance(refresh, str) else None
