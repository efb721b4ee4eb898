"""What it costs to refuse: hostile documents and bodies, from the text to the refusal.

    python3 scripts/dev.py exec -- .venv/bin/python benchmarks/hostile.py

Milliseconds of this thread's processor time, the median of many, with the seed's query, which is
accepted, as the measure to compare with. Without PostgreSQL and Redis: nothing of it reaches them.
"""

import contextlib
import os
import sys
from pathlib import Path
from statistics import median
from time import thread_time

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.test")

import django

django.setup()

from pcf.config import Documents
from pcf.documents.document import InvalidDocument, prepare
from pcf.errors import ClientError
from pcf.http.protocol import make_request, parse_body
from pcf.schema import schema
from tests.attacks import DOCUMENTS

SEED = "{ users(first: 100) { id name notes { id title author { name } tags { name } } } }"
ROUNDS = 30


def cost(action):
    """Median milliseconds of ``action``, which may be refused."""
    times = []
    for _ in range(ROUNDS):
        started = thread_time()
        with contextlib.suppress(InvalidDocument, ClientError):
            action()
        times.append(thread_time() - started)
    return median(times) * 1_000


def main():
    limits = Documents()
    accepted = cost(lambda: prepare(schema.graphql_schema, SEED, limits))
    print(f"{accepted:8.2f}  the query that is accepted: parsed, measured, validated")
    for name, text in DOCUMENTS.items():
        spent = cost(lambda text=text: prepare(schema.graphql_schema, text, limits))
        print(f"{spent:8.2f}  {name}")
    deep = b'{"query": "{ me { id } }", "variables": ' + b'{"a":' * 900 + b"1" + b"}" * 901
    wide = b'{"query": "{ me { id } }", "variables": {' + b'"a":1,' * 100_000 + b'"a":1}}'
    for name, body in (("deep variables", deep), ("100,000 variables", wide)):
        spent = cost(lambda body=body: make_request(parse_body("application/json", body)))
        print(f"{spent:8.2f}  {name}")


if __name__ == "__main__":
    main()
