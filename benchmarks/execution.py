"""Measure execution down to bytes: by a plan, promise by promise, and in PostgreSQL alone.

    make bench-execution

The benchmark seeds its database with the demo data (1,000 users, 10 notes each, 3 tags a note). The
ways alternate within each round, so that other work of the machine affects all of them. It prints
medians in milliseconds and their ratios. ``ROUNDS`` (20) is the number of rounds.
"""

import gc
import json
import os
import statistics
import sys
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ["DJANGO_SETTINGS_MODULE"] = "settings.development"
os.environ["DEBUG"] = "0"  # with DEBUG, Django keeps a list of all statements

import django

django.setup()

import psycopg
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from graphql import ExecutionResult, build_schema, parse
from promise import Promise

from pcf.execution.context import RequestContext
from pcf.execution.executor import execute, execute_with_promises
from pcf.http.request_state import open_timeout
from pcf.http.response import encode
from pcf.project.schema import schema
from pcf.server.process import freeze_memory
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
ROUNDS = int(os.environ.get("ROUNDS", "20"))

Execute = Callable[..., ExecutionResult]
Ways = dict[str, Callable[[], Any]]


def answer(run: Execute, text: str) -> Callable[[], bytes]:
    document = parse(text)

    def answered() -> bytes:
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

    return answered


def by_postgresql(sql: str) -> Callable[[], bytes]:
    def answered() -> bytes:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return str(cursor.fetchone()[0]).encode()  # PostgreSQL returns finished text

    return answered


def statements_of(text: str) -> Callable[[], None]:
    """Return a function that only sends the statements of ``text`` and fetches their rows."""
    with CaptureQueriesContext(connection) as captured:
        answer(execute, text)()
    texts = [entry["sql"].replace("%", "%%") for entry in captured.captured_queries]
    cursor = psycopg.ClientCursor(connection.connection)

    def send() -> None:
        for sql in texts:
            cursor.execute(sql)
            cursor.fetchall()

    return send


def medians(ways: Ways, rounds: int) -> dict[str, float]:
    """Return the median milliseconds of each way. Every round runs each way once."""
    durations: dict[str, list[float]] = {name: [] for name in ways}
    for run in ways.values():
        run()  # opens connections, compiles plans, prepares statements
    for _ in range(rounds):
        for name, run in ways.items():
            started = perf_counter()
            run()
            durations[name].append((perf_counter() - started) * 1000)
    return {name: statistics.median(values) for name, values in durations.items()}


def report_graph(first: int) -> None:
    text = GRAPH.format(first)
    ways: Ways = {
        "plan": answer(execute, text),
        "promises": answer(execute_with_promises, text),
        "postgresql": by_postgresql(GRAPH_SQL.format(first)),
    }
    expected = json.loads(ways["plan"]())
    assert all(json.loads(run()) == expected for run in ways.values())  # noqa: S101
    times = medians(ways, ROUNDS)
    print(f"{first} users, their notes, authors and tags ({len(ways['plan']()):,} bytes)")
    for name, time in times.items():
        print(f"  {name:12} {time:9.2f} ms   {time / times['plan']:6.2f} x plan")
    print(f"  plan / postgresql = {times['plan'] / times['postgresql']:.2f}")


def report_small() -> None:
    ways: Ways = {
        "plan": answer(execute, SMALL),
        "promises": answer(execute_with_promises, SMALL),
        "its statements alone": statements_of(SMALL),
    }
    times = medians(ways, ROUNDS * 30)
    print("one note and its author")
    for name, time in times.items():
        print(f"  {name:20} {time:9.3f} ms")
    print(f"  plan beyond SQL      {times['plan'] - times['its statements alone']:9.3f} ms")


def report_growth() -> None:
    """Print time and memory for 10 to 1,000 users, in pages of 100."""
    print("users, in one operation: time of a plan, and memory at its peak beside the result")
    for users in (10, 100, 1_000):
        page = min(users, 100)
        pages = " ".join(
            f'p{after}: users(first: {page}, after: "{after}") {{ id name notes {{ id title'
            " author { name } tags { name } } }"
            for after in range(0, users, page)
        )
        run = answer(execute, f"{{ {pages} }}")
        time = medians({"plan": run}, max(3, ROUNDS * 10 // users))["plan"]
        document = parse(f"{{ {pages} }}")
        gc.collect()
        tracemalloc.start()
        result = execute(schema.graphql_schema, document, context_value=RequestContext())
        gc.collect()
        kept, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        del result
        print(
            f"  {users:5} {time:9.2f} ms {time / users * 1000:7.1f} us a user;"
            f" result {kept / 1e6:6.2f} MB, peak {peak / kept:5.2f} x result"
        )


def report_edges() -> None:
    """Print the microseconds of an edge for each parent, its statement included."""
    count = 100
    without = "{ notes(first: 100) { title authorId: id } }"
    cases = {
        "an edge to one": "{ notes(first: 100) { title authorId: id author { name } } }",
        "an edge to many": "{ notes(first: 100) { title authorId: id tags { name } } }",
    }
    print(f"{count} parents, microseconds each")
    for name, text in cases.items():
        ways: Ways = {}
        for way, run in (("plan", execute), ("promises", execute_with_promises)):
            ways[way], ways[f"{way} without"] = answer(run, text), answer(run, without)
        times = medians(ways, ROUNDS * 5)
        costs = {way: times[way] - times[f"{way} without"] for way in ("plan", "promises")}
        print(
            f"  {name:31} plan {costs['plan'] * 1000 / count:8.2f}"
            f"   promises {costs['promises'] * 1000 / count:8.2f}"
        )


def report_units() -> None:
    """Print the microseconds of leaf fields, resolvers and promises, without a database."""
    leaves = range(10)
    fields = " ".join(f"f{number}: String" for number in leaves)
    toy = build_schema(f"type Query {{ items: [Item!]! }} type Item {{ {fields} }}")
    count = 1_000
    plain = [{f"f{number}": "text" for number in leaves} for _ in range(count)]
    cases: dict[str, tuple[str, Callable[[], list[Any]]]] = {
        "an object": ("{ items { __typename } }", lambda: plain),
        "an object with 10 leaves": ("{ items { " + " ".join(plain[0]) + " } }", lambda: plain),
        "an object with a resolver": (
            "{ items { f0 } }",
            lambda: [{"f0": lambda _: "text"} for _ in range(count)],
        ),
        "an object with a fulfilled promise": (
            "{ items { f0 } }",
            lambda: [{"f0": lambda _: Promise.resolve("text")} for _ in range(count)],
        ),
        "an object with a promise": (
            "{ items { f0 } }",
            lambda: [
                {"f0": lambda _: Promise.resolve(None).then(lambda _: "text")} for _ in range(count)
            ],
        ),
    }
    print(f"{count:,} objects, microseconds each")
    for name, (text, make) in cases.items():
        document, root = parse(text), {"items": make()}
        ways: Ways = {
            way: partial(run, toy, document, root_value=root)
            for way, run in (("plan", execute), ("promises", execute_with_promises))
        }
        times = medians(ways, ROUNDS)
        print(
            f"  {name:33} plan {times['plan'] * 1000 / count:7.2f}"
            f"   promises {times['promises'] * 1000 / count:7.2f}"
        )


def main() -> None:
    call_command("migrate", verbosity=0)
    call_command("seed_demo", verbosity=0)
    freeze_memory()  # as the server does before it forks
    for first in (10, 100):
        report_graph(first)
    report_small()
    report_growth()
    report_edges()
    report_units()


if __name__ == "__main__":
    main()
