"""Measure the memory of cached responses, of documents with their plans, of prepared statements.

    python3 scripts/dev.py exec -- .venv/bin/python benchmarks/memory.py

The benchmark needs an empty Redis and an empty database, which it seeds with the demo data.
"""

import gc
import json
import os
import sys
import tracemalloc
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.development")
os.environ["DEBUG"] = "0"  # the backend prepares no reads while Django logs statements

import django

django.setup()

import redis
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from pcf.http.request import GraphQLRequest
from pcf.http.request_state import open_timeout
from pcf.http.response import GraphQLResponse
from pcf.project.schema import graphql_service
from pcf.timeouts import activate

GRAPH = "{ users(first: 100) { id name notes { id title author { name } tags { name } } } }"
NOTE = (
    "query N($id: ID!) { note(id: $id) { id title content author { id name } tags { id name } } }"
)
PROFILE = (
    "query P($id: ID!) { user(id: $id) { id name notes(first: 10) { id title tags { name } } } }"
)
ENTRIES = 500
DOCUMENTS = 200


def answer(
    query: str, variables: Mapping[str, object] | None = None, *, no_store: bool = False
) -> GraphQLResponse:
    timeout = open_timeout()
    with activate(timeout):
        request = GraphQLRequest(query, variables=dict(variables or {}), no_store=no_store)
        response = graphql_service().answer(request, timeout)
    assert b'"errors"' not in response.body[:20], response.body[:200]  # noqa: S101
    return response


def entries() -> None:
    server = redis.Redis.from_url(settings.REDIS_URL)

    def used() -> int:
        return int(server.info("memory")["used_memory"])

    answer(NOTE, {"id": "1"})  # loads the scripts into Redis
    print("| in Redis | body | memory |\n|---|---|---|")
    for name, query, count in (
        ("100 users with everything", GRAPH, 1),
        ("a profile with 10 notes", PROFILE, ENTRIES),
        ("a note", NOTE, ENTRIES),
    ):
        before, bodies = used(), 0
        for number in range(2, count + 2):
            bodies += len(answer(query, {"id": str(number)} if count > 1 else None).body)
        memory = (used() - before) / count
        print(f"| {name} | {bodies / count:,.0f} bytes | {memory:,.0f} bytes |")


def documents() -> None:
    answer(NOTE, {"id": "1"}, no_store=True)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(DOCUMENTS):
        answer(PROFILE.replace("query P", f"query P{number}"), {"id": "1"}, no_store=True)
    gc.collect()
    each = (tracemalloc.get_traced_memory()[0] - before) / DOCUMENTS
    tracemalloc.stop()
    print(f"\na document with its plan, in a process: {each:,.0f} bytes")


def plans() -> None:
    with CaptureQueriesContext(connection) as captured:
        answer(GRAPH, no_store=True)
    costliest = 0.0
    with connection.cursor() as cursor:
        for query in captured.captured_queries:
            if query["sql"].lstrip().upper().startswith("SELECT"):
                cursor.execute(f"EXPLAIN (FORMAT JSON) {query['sql']}")
                plan = cursor.fetchone()[0]
                plan = json.loads(plan) if isinstance(plan, str) else plan
                costliest = max(costliest, plan[0]["Plan"]["Total Cost"])
        cursor.execute("SHOW jit_above_cost")
        above = cursor.fetchone()[0]
    print(f"costliest statement of the graph: cost {costliest:,.0f}, jit_above_cost {above}")


def prepared() -> None:
    for _ in range(3):  # the backend prepares a read at its second use
        for query, variables in ((GRAPH, {}), (NOTE, {"id": "1"}), (PROFILE, {"id": "1"})):
            answer(query, variables, no_store=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_prepared_statements")
        count = cursor.fetchone()[0]
        cursor.execute(
            "SELECT sum(total_bytes) FROM pg_backend_memory_contexts WHERE name LIKE 'CachedPlan%'"
        )
        total = cursor.fetchone()[0]
    print(f"a prepared read, in PostgreSQL: {total / count:,.0f} bytes ({count} of them)")


def main() -> None:
    call_command("migrate", verbosity=0)
    call_command("seed_demo", verbosity=0)
    entries()
    documents()
    plans()
    prepared()


if __name__ == "__main__":
    main()
