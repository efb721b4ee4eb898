"""Measure the cost of refusing hostile documents and bodies.

    python3 scripts/dev.py exec -- .venv/bin/python benchmarks/hostile.py

The figures are medians in milliseconds of processor time. The first one belongs to a query that
the engine accepts, for comparison. No request reaches PostgreSQL or Redis.
"""

import contextlib
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import thread_time

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.test")

import django

django.setup()

from pcf.conf.sections import DocumentSettings
from pcf.documents.document import InvalidDocument, prepare
from pcf.errors import ClientError
from pcf.http.request import make_request, parse_body
from pcf.project.schema import schema
from tests.attacks import DOCUMENTS

SEED = "{ users(first: 100) { id name notes { id title author { name } tags { name } } } }"
ROUNDS = 30


def cost(action: Callable[[], object]) -> float:
    """Return the median milliseconds of ``action``, which the engine may refuse."""
    times = []
    for _ in range(ROUNDS):
        started = thread_time()
        with contextlib.suppress(InvalidDocument, ClientError):
            action()
        times.append(thread_time() - started)
    return median(times) * 1_000


def _read(body: bytes) -> None:
    make_request(parse_body("application/json", body))


def main() -> None:
    limits = DocumentSettings()
    accepted = cost(lambda: prepare(schema.graphql_schema, SEED, limits))
    print(f"{accepted:8.2f}  an accepted query: parsed, measured, validated")
    for name, text in DOCUMENTS.items():
        spent = cost(partial(prepare, schema.graphql_schema, text, limits))
        print(f"{spent:8.2f}  {name}")
    deep = b'{"query": "{ me { id } }", "variables": ' + b'{"a":' * 900 + b"1" + b"}" * 901
    wide = b'{"query": "{ me { id } }", "variables": {' + b'"a":1,' * 100_000 + b'"a":1}}'
    for name, body in (("deep variables", deep), ("100,000 variables", wide)):
        spent = cost(partial(_read, body))
        print(f"{spent:8.2f}  {name}")


if __name__ == "__main__":
    main()
