"""Measure the queries of the guides at 10,000 and at 1,000,000 notes, uncached.

    make bench-sizes

Each size has a database of its own on the server of ``DATABASE_URL``, which the benchmark drops at
its end. Each query runs by itself inside the process, from the GraphQL text to bytes. The sizes
take turns within each round. The table shows the least and the median milliseconds of each query,
and the ratio of the least ones. A word of the search is in 1 % of the notes.

``SIZES`` are the numbers of notes ("10000 1000000"), ``ROUNDS`` (30) is the number of rounds.
"""

import json
import os
import statistics
import subprocess
import sys
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any

import psycopg
from psycopg import sql

ROOT = Path(__file__).resolve().parents[1]
SIZES = [int(size) for size in os.environ.get("SIZES", "10000 1000000").split()]
ROUNDS = int(os.environ.get("ROUNDS", "30"))
NOTES_PER_USER = 10
WORD = "zanzibar"  # in 1 % of the notes

PAGE = "edges { cursor node { id title author { name } } } pageInfo { hasNextPage endCursor }"
LIST = f"query ($f: NoteFilter, $o: [NoteOrder!], $a: String) {{ notesConnection(first: 20, filter: $f, orderBy: $o, after: $a) {{ {PAGE} }} }}"  # noqa: E501
BY_RELEVANCE = [{"field": "RELEVANCE", "direction": "DESC"}]

# name -> (document, variables, id of the viewer)
QUERIES: dict[str, tuple[str, dict[str, Any], int | None]] = {
    "the seed's graph": (
        "{ users(first: 100) { id name notes { id title author { name } tags { name } } } }",
        {}, None,
    ),
    "one note and its author": ('{ note(id: "5000") { id title author { name } } }', {}, None),
    "newest notes": (LIST, {}, None),
    "newest notes of a member": (LIST, {}, 100),
    "second page": (LIST, {"a": "next"}, None),
    "by title": (LIST, {"o": [{"field": "TITLE"}]}, None),
    "of two tags": (LIST, {"f": {"tags": {"all": {"names": ["work", "home"]}}}}, None),
    "title begins with": (LIST, {"f": {"title": {"startsWith": "plan the gar"}}}, None),
    "title contains": (LIST, {"f": {"title": {"contains": "bicycle before"}}}, None),
    "of the last week": (LIST, {"f": {"createdAt": {"gte": "2026-01-01T00:00:00Z"}}}, None),
    "a word of 1 %, newest": (LIST, {"f": {"search": WORD}}, None),
    "a word of 1 %, relevance": (LIST, {"f": {"search": WORD}, "o": BY_RELEVANCE}, None),
    "beginning of a word of 1 %": (LIST, {"f": {"searchPrefix": WORD[:5]}}, None),
    "pages of 20 users": (
        f"{{ usersConnection(first: 20) {{ nodes {{ name notesConnection(first: 5) {{ {PAGE} }} }} }} }}",  # noqa: E501
        {}, None,
    ),
    "pages of all tags": (
        f"{{ tagsConnection(first: 50) {{ nodes {{ name noteCount notesConnection(first: 5) {{ {PAGE} }} }} }} }}",  # noqa: E501
        {}, None,
    ),
    "tags by count": (
        "{ tagsConnection(orderBy: [{field: NOTE_COUNT, direction: DESC}]) { nodes { name noteCount } } }",  # noqa: E501
        {}, None,
    ),
    "counts of a user": (
        '{ user(id: "100") { noteCount notesConnection(first: 5) { totalCount tagFacets { tag { name } count } } } }',  # noqa: E501
        {}, None,
    ),
}  # fmt: skip


class Child:
    """A process that measures one size. Each line of its input names a query."""

    def __init__(self, url: str, notes: int) -> None:
        environment = os.environ | {
            "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "settings.development", "DEBUG": "0",
        }  # fmt: skip
        self._process = subprocess.Popen(
            [sys.executable, __file__, "measure", str(notes)], env=environment, cwd=ROOT,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ask(self, name: str) -> float:
        """Return the milliseconds of one run of a query."""
        assert self._process.stdin is not None  # noqa: S101
        self._process.stdin.write(f"{name}\n")
        self._process.stdin.flush()
        return float(self.line())

    def line(self) -> str:
        """Return the next line of the output. Raises RuntimeError when the process has ended."""
        assert self._process.stdout is not None  # noqa: S101
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("a measuring process has ended")
        return line

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


def main() -> None:
    """Measure all sizes in turns and print the table."""
    server = os.environ["DATABASE_URL"]
    names = [f"pcf_sizes_{os.getpid()}_{size}" for size in SIZES]
    children: list[Child] = []
    with psycopg.connect(server, autocommit=True) as connection:
        try:
            for name, size in zip(names, SIZES, strict=True):
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
                url = f"{server.rpartition('/')[0]}/{name}"
                children.append(Child(url, size))
                children[-1].line()  # the notes are there
            print_table(measured(children))
        finally:
            for child in children:
                child.end()
            for name in names:
                drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
                connection.execute(drop.format(sql.Identifier(name)))


def measured(children: list[Child]) -> dict[str, list[list[float]]]:
    """Return the milliseconds of each query for each size."""
    times: dict[str, list[list[float]]] = {name: [[] for _ in children] for name in QUERIES}
    for name, found in times.items():
        for child in children:
            child.ask(name)
            child.ask(name)
        for _ in range(ROUNDS):
            for child, milliseconds in zip(children, found, strict=True):
                milliseconds.append(child.ask(name))
    return times


def print_table(times: dict[str, list[list[float]]]) -> None:
    """Print a row for each query."""
    heads = "".join(f"{f'{size:,}':>20}" for size in SIZES)
    print(f"{'notes (least, median; ms)':<30}{heads}{'ratio':>8}")
    for name, found in times.items():
        cells = [f"{min(each):.2f} {statistics.median(each):.2f}" for each in found]
        ratio = min(found[-1]) / min(found[0])
        print(f"{name:<30}" + "".join(f"{cell:>20}" for cell in cells) + f"{ratio:>8.2f}")


def measure(notes: int) -> None:
    """Seed the database, then run the query that each line of the input names."""
    import django  # noqa: PLC0415 - the parent has no settings

    sys.path.insert(0, str(ROOT))
    django.setup()

    from django.core.management import call_command  # noqa: PLC0415
    from django.db import connection  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    call_command(
        "seed_load", users=notes // NOTES_PER_USER, notes_per_user=NOTES_PER_USER, tags=50,
        tags_per_note=3, interactive=False, verbosity=0, stdout=sys.stderr,
    )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE notes_note SET content = content || %s WHERE id %% 100 = 0", [f" {WORD}"]
        )
        cursor.execute("VACUUM ANALYZE")
    print("ready", flush=True)
    for line in sys.stdin:
        print(one_run(line.strip()), flush=True)


def one_run(name: str) -> float:
    """Return the milliseconds of a run."""
    document, variables, viewer = QUERIES[name]
    if variables.get("a") == "next":
        first = answer(document, {**variables, "a": None}, viewer)[1]
        end = first["data"]["notesConnection"]["pageInfo"]["endCursor"]
        variables = {**variables, "a": end}
    return answer(document, variables, viewer)[0]


def answer(document: str, variables: dict[str, Any], viewer: int | None) -> tuple[float, Any]:
    """Return the milliseconds of a query, and its answer."""
    from pcf.http.request import GraphQLRequest  # noqa: PLC0415
    from pcf.http.request_state import open_timeout  # noqa: PLC0415
    from pcf.project.schema import graphql_service  # noqa: PLC0415
    from pcf.timeouts import activate  # noqa: PLC0415

    token = None if viewer is None else token_of(viewer)
    timeout = open_timeout()
    started = perf_counter()
    with activate(timeout):
        request = GraphQLRequest(document, variables=variables, token=token, no_store=True)
        response = graphql_service().answer(request, timeout)
    milliseconds = (perf_counter() - started) * 1_000
    content = json.loads(response.body)
    assert "errors" not in content, content  # noqa: S101
    return milliseconds, content


@cache
def token_of(viewer: int) -> str:
    """Return a token of a user of the seeds."""
    from users.models import ApiToken, User  # noqa: PLC0415

    return str(ApiToken.issue(User.objects.get(pk=viewer), "sizes", scope="read")[1])


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        measure(int(sys.argv[2]))
    else:
        main()
