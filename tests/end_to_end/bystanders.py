"""Clients that keep their connections and check every answer, in their own process.

    python -m tests.end_to_end.bystanders PORT CONNECTIONS REQUESTS_PER_SECOND

The process prints a line once every connection has an answer. It works until its standard input
ends, and then prints its counts as JSON.
"""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Self

PATIENCE = 60  # seconds; an answer that takes longer is a hang
MOST_FAULTS = 10  # in the report
HOST = "127.0.0.1"


def graphql(query: str, *headers: str) -> bytes:
    """Return a request that keeps its connection open."""
    body = json.dumps({"query": query}).encode()
    lines = [
        "POST /graphql HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


LIVEZ = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
HIT = graphql("{ tags { id name } }")
MISS = graphql("{ notes(first: 5) { title } }", "Cache-Control: no-store")


def mutation(number: int) -> bytes:
    """Return a mutation of one of the ten notes of the demo user."""
    values = f'id: "{number % 10 + 1}", content: "{number}"'
    query = f"mutation {{ updateNote(input: {{{values}}}) {{ userErrors {{ message }} }} }}"
    return graphql(query, "Authorization: Bearer test-token")


MIX = [*[HIT] * 6, LIVEZ, *[HIT] * 6, MISS, *[HIT] * 5]


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Read one answer of a known length. Raise OSError or EOFError if it is incomplete."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    body = await reader.readexactly(int(headers["content-length"]))
    return int(first.split(" ")[1]), headers, body


class Counts:
    """The counts and faults that the clients report."""

    def __init__(self) -> None:
        self.answered = self.announced = self.faults = 0
        self.first = asyncio.Event()  # every client has an answer
        self.waiting = 0
        self.reasons: Counter[str] = Counter()

    def fault(self, reason: str) -> None:
        self.faults += 1
        self.reasons[reason] += 1


async def client(port: int, number: int, period: float, counts: Counts, end: asyncio.Event) -> None:
    """Send one request after another until the end."""
    clock = asyncio.get_running_loop().time
    connection = None
    is_first = True
    due = clock()
    while not end.is_set():
        turn = number % (len(MIX) + 1)
        request = MIX[turn] if turn < len(MIX) else mutation(number)
        number += 1
        due = max(due + period, clock())
        try:
            if connection is None:
                connection = await asyncio.open_connection(HOST, port)
            reader, writer = connection
            writer.write(request)
            answer = await asyncio.wait_for(read_answer(reader), PATIENCE)
        except (OSError, EOFError, TimeoutError) as error:
            counts.fault(f"{request[:12]!r} {error!r}")
            if connection is not None:
                connection[1].transport.abort()
                connection = None
            await asyncio.sleep(0.01)
            continue
        status, headers, body = answer
        if status != 200 or b'"errors"' in body:
            counts.fault(f"{status} {body[:300]!r}")
        counts.answered += 1
        if is_first:
            is_first = False
            counts.waiting -= 1
            if not counts.waiting:
                counts.first.set()
        if headers.get("connection", "").lower() == "close":
            counts.announced += 1
            writer.close()
            connection = None
        await asyncio.sleep(due - clock())
    if connection is not None:
        connection[1].close()


async def work(port: int, connections: int, rate: float) -> Counts:
    counts = Counts()
    counts.waiting = connections
    end = asyncio.Event()
    clients = [
        asyncio.ensure_future(client(port, n * 7, connections / rate, counts, end))
        for n in range(connections)
    ]
    await counts.first.wait()
    print("begun", flush=True)  # noqa: T201
    await asyncio.to_thread(sys.stdin.read)
    end.set()
    await asyncio.gather(*clients)
    return counts


class Bystanders:
    """``connections`` clients of a service, together ``rate`` requests a second at most.

    The block begins once each client has an answer; behind it stand the counts.
    """

    def __init__(self, url: str, connections: int = 20, rate: float = 1_000) -> None:
        port = url.rpartition(":")[2]
        self._command = [
            sys.executable, "-m", "tests.end_to_end.bystanders", port, str(connections), str(rate)
        ]  # fmt: skip
        self.answered = self.announced = self.faults = 0
        self.reasons: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).resolve().parents[2],
        )
        line = self._process.stdout.readline()
        assert line == "begun\n", line
        return self

    def __exit__(self, kind, *_) -> None:
        try:
            printed, _ = self._process.communicate("", timeout=2 * PATIENCE)
        finally:
            self._process.kill()
            self._process.wait()
        if kind is None:
            for name, value in json.loads(printed).items():
                setattr(self, name, value)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        seen = asyncio.run(work(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
        print(  # noqa: T201
            json.dumps(
                {
                    "answered": seen.answered,
                    "announced": seen.announced,
                    "faults": seen.faults,
                    "reasons": dict(seen.reasons.most_common(MOST_FAULTS)),
                }
            )
        )
