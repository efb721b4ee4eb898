"""What execution costs down to bytes: by a plan, promise by promise, and in PostgreSQL alone.

    DATABASE_URL=... python benchmarks/execution.py [rounds]

Runs on a database that holds the demo data and only reads it. The ways alternate within each
round, so that whatever else the machine does hits all of them; prints medians in milliseconds and
their ratios.
"""

import json
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.production")

import django

django.setup()

from django.db import connection
from graphql import DocumentNode, ExecutionResult, build_schema, parse
from promise import Promise

from pcf.execution.context import execute_with_promises
from pcf.execution.execute import execute
from pcf.execution.request import RequestContext
from pcf.http.middleware import open_timeout
from pcf.http.protocol import encode
from pcf.schema import schema
from pcf.timeouts import activate

GRAPH = (
    "{{ users(first: {}) {{ id name notes {{ id title author {{ name }} tags {{ name }} }} }} }}"
)
SMALL = '{ note(id: "1") { id title author { name } } }'
GRAPH_SQL = """
SELECT json_build_object('data', json_build_object('users', json_agg(
    json_build_object('id', u.id::text, 'name', u.name, 'notes', u.notes) ORDER BY u.id)))::text
FROM (
    SELECT id, name, (
        SELECT coalesce(json_agg(json_build_object('id', n.id::text, 'title', n.title, 'author',
            (SELECT json_build_object('name', a.name) FROM users_user a WHERE a.id = n.author_id),
            'tags', (
                SELECT coalesce(json_agg(json_build_object('name', t.name) ORDER BY t.id), '[]')
                FROM notes_notetag nt JOIN tags_tag t ON t.id = nt.tag_id WHERE nt.note_id = n.id
            )) ORDER BY n.id), '[]')
        FROM (
            SELECT id, title, author_id FROM notes_note
            WHERE author_id = users_user.id AND is_public ORDER BY id LIMIT 100
        ) n
    ) AS notes
    FROM users_user ORDER BY id LIMIT {}
) u
"""
SMALL_SQL = """
SELECT json_build_object('data', json_build_object('note', (
    SELECT json_build_object('id', n.id::text, 'title', n.title, 'author',
        (SELECT json_build_object('name', a.name) FROM users_user a WHERE a.id = n.author_id))
    FROM notes_note n WHERE n.id = 1 AND n.is_public)))::text
"""

Execute = Callable[..., ExecutionResult]


def by(run: Execute, document: DocumentNode) -> Callable[[], bytes]:
    def answer() -> bytes:
        timeout = open_timeout()
        with activate(timeout):
            result = run(
                schema.graphql_schema,
                document,
                context_value=RequestContext(),
                check=timeout.check,
            )
        assert result.errors is None, result.errors  # noqa: S101
        return encode({"data": result.data})

    return answer


def by_postgresql(sql: str) -> Callable[[], bytes]:
    def answer() -> bytes:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return str(cursor.fetchone()[0]).encode()  # ready text: nothing is built in Python

    return answer


def compare(title: str, ways: dict[str, Callable[[], bytes]], rounds: int) -> None:
    durations: dict[str, list[float]] = {name: [] for name in ways}
    answers = {name: answer() for name, answer in ways.items()}  # connections, plans
    first, *others = map(json.loads, answers.values())
    assert all(other == first for other in others)  # noqa: S101
    for _ in range(rounds):
        for name, answer in ways.items():
            started = perf_counter()
            answer()
            durations[name].append((perf_counter() - started) * 1000)
    medians = {name: statistics.median(values) for name, values in durations.items()}
    print(f"{title} ({len(answers['plan']):,} bytes, {rounds} rounds)")
    for name, median in medians.items():
        ratios = ", ".join(
            f"{median / other:5.2f} x {other_name}"
            for other_name, other in medians.items()
            if other_name != name
        )
        print(f"  {name:12} {median:9.3f} ms   {ratios}")


def report_unit_costs(rounds: int) -> None:
    """Microseconds for a leaf field and for a promise, beyond what the objects cost."""
    sdl = "type Query { items: [Item!]! } type Item { " + "".join(
        f"f{number}: String " for number in range(10)
    )
    toy = build_schema(sdl + "}")
    count, leaves = 1_000, range(10)
    plain = [{f"f{number}": "text" for number in leaves} for _ in range(count)]
    promised = [{"f0": lambda _: Promise.resolve("text")} for _ in range(count)]
    loads: dict[str, tuple[str, list[dict[str, Any]]]] = {
        "objects": ("{ items { __typename } }", plain),
        "objects with 10 leaves": ("{ items { " + " ".join(plain[0]) + " } }", plain),
        "objects with a resolver": (
            "{ items { f0 } }",
            [{"f0": lambda _: "text"} for _ in range(count)],
        ),
        "objects with a settled promise": ("{ items { f0 } }", promised),
        "objects with a promise": (
            "{ items { f0 } }",
            [{"f0": lambda _: Promise.resolve(None).then(lambda _: "text")} for _ in range(count)],
        ),
    }
    print(f"{count:,} objects, microseconds each")
    for name, (text, items) in loads.items():
        document, root = parse(text), {"items": items}
        by_way = []
        for run in (execute_with_promises, execute):
            durations = []
            for _ in range(rounds):
                started = perf_counter()
                run(toy, document, root_value=root)
                durations.append((perf_counter() - started) * 1e6 / count)
            by_way.append(statistics.median(durations))
        print(f"  {name:31} promises {by_way[0]:8.2f}   plan {by_way[1]:8.2f}")


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    report_unit_costs(rounds)
    for first in (10, 100):
        graph = parse(GRAPH.format(first))
        ways = {
            "promises": by(execute_with_promises, graph),
            "plan": by(execute, graph),
            "postgresql": by_postgresql(GRAPH_SQL.format(first)),
        }
        compare(f"{first} users, their notes, authors and tags", ways, rounds)
    small = parse(SMALL)
    ways = {
        "promises": by(execute_with_promises, small),
        "plan": by(execute, small),
        "postgresql": by_postgresql(SMALL_SQL),
    }
    compare("one note and its author", ways, rounds * 10)


if __name__ == "__main__":
    main()
