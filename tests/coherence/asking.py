"""A client with connections to several workers."""

import json
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

CONNECTIONS = 4  # of one client: enough that every worker has some


@dataclass(frozen=True)
class Viewer:
    """Who asks. ``ever_staff``: may have been staff at some time of the run."""

    user: int
    token: str
    ever_staff: bool

    def __str__(self) -> str:
        return f"user {self.user}"


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    cache: str

    @property
    def hit(self) -> bool:
        return "hit" in self.cache

    def __str__(self) -> str:
        return f"{self.status} [{self.cache}] {self.body.decode()[:600]}"


class Client:
    """Asks in turn over each of its connections."""

    def __init__(self, port: int) -> None:
        self._connections = [
            HTTPConnection("127.0.0.1", port, timeout=60) for _ in range(CONNECTIONS)
        ]
        self._turn = 0

    def is_ready(self) -> bool:
        try:
            return self._send("GET", "/readyz", None, {})[0] == 200
        except OSError:
            self._connections[self._turn % CONNECTIONS].close()
            return False

    def ask(self, query: str, viewer: Viewer | None, *, fresh: bool = False) -> Answer:
        headers = {"Content-Type": "application/json"}
        if viewer is not None:
            headers["Authorization"] = f"Bearer {viewer.token}"
        if fresh:
            headers["Cache-Control"] = "no-store"
        status, found, body = self._send(
            "POST", "/graphql", json.dumps({"query": query}).encode(), headers
        )
        return Answer(status, body, found.get("Cache-Status", ""))

    def _send(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, Any, bytes]:
        self._turn += 1
        connection = self._connections[self._turn % CONNECTIONS]
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
