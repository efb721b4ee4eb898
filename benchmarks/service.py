"""Measure requests inside the process, from the GraphQL text to bytes, without HTTP.

    make bench

The benchmark seeds its database with the demo data and prints medians in milliseconds.
"""

import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.development")

import django

django.setup()

from django.core.management import call_command
from django.db import connection

from pcf.http.request import GraphQLRequest
from pcf.http.request_state import open_timeout
from pcf.http.response import GraphQLResponse
from pcf.project.schema import graphql_service
from pcf.timeouts import activate

GRAPH = "{ users(first: 100) { id name notes { id title author { name } tags { name } } } }"
SMALL = '{ note(id: "3") { id title author { name } } }'
# PostgreSQL builds the answer to GRAPH in one statement, for comparison
JSON_AGG = """
SELECT json_agg(u) FROM (
    SELECT id, name, (
        SELECT json_agg(n) FROM (
            SELECT id, title, json_build_object('name', a.name) AS author, (
                SELECT json_agg(json_build_object('name', t.name) ORDER BY t.id)
                FROM notes_notetag nt JOIN tags_tag t ON t.id = nt.tag_id WHERE nt.note_id = n.id
            ) AS tags
            FROM (
                SELECT n.id, n.title, n.author_id FROM notes_note n
                WHERE n.author_id = users_user.id AND n.is_public ORDER BY n.id LIMIT 100
            ) n JOIN LATERAL (SELECT name FROM users_user a WHERE a.id = n.author_id) a ON true
        ) n
    ) AS notes
    FROM users_user ORDER BY id LIMIT 100
) u
"""


def answer(query: str, *, cached: bool) -> GraphQLResponse:
    timeout = open_timeout()
    with activate(timeout):
        return graphql_service().answer(GraphQLRequest(query, no_store=not cached), timeout)


def ask_postgresql() -> None:
    with connection.cursor() as cursor:
        cursor.execute(JSON_AGG)
        cursor.fetchall()


def median_ms(run: Callable[[], object], times: int) -> float:
    durations = []
    for _ in range(times):
        started = perf_counter()
        run()
        durations.append(perf_counter() - started)
    return statistics.median(durations) * 1000


def main() -> None:
    call_command("migrate", verbosity=0)
    call_command("seed_demo", verbosity=0)
    cases: list[tuple[str, Callable[[], object], int]] = [
        ("100 users, 800 notes, 2,400 tags, uncached", lambda: answer(GRAPH, cached=False), 15),
        ("the same as one json_agg statement", ask_postgresql, 15),
        ("the same, cached", lambda: answer(GRAPH, cached=True), 300),
        ("one note and its author, uncached", lambda: answer(SMALL, cached=False), 300),
        ("one note and its author, cached", lambda: answer(SMALL, cached=True), 1_000),
    ]
    for _, run, _ in cases:
        run()  # opens connections, parses documents, fills the cache
    for name, run, times in cases:
        print(f"{name:45} {median_ms(run, times):9.3f} ms")


if __name__ == "__main__":
    main()
