"""The service counts each refusal under the name of its limit."""

import json
from dataclasses import replace

import pytest
from django.test import Client

from pcf.observability.metrics import LIMITS
from tests.http.counters import count_refusals

ME = "{ me { id } }"
NOTHING = "{ __typename }"
FRAGMENTS = "{ me { ...F ...G } } fragment F on User { id } fragment G on User { id }"
OF_TWO_VARIABLES = "query ($a: ID!, $b: ID!) { user(id: $a) { id } note(id: $b) { id } }"
NESTED_VALUE = "mutation { tagNote(input: {noteId: 1, tagIds: [1]}) { note { id } } }"
LISTS = "{ users { notes { id } } }"
SCHEMA_LISTS = "{ __schema { types { fields { type { fields { name } } } } } }"
OF_USERS = "query ($n: Int) { users(first: $n) { notes(first: $n) { id } } }"

# limit: section of the settings, setting, value, request, status, code
CASES = {
    "body": ("documents", "max_body_bytes", 10, ME, 413, "BODY_TOO_LARGE"),
    "batch": ("requests", "max_batch", 1, [ME, ME], 400, "BATCH_TOO_LARGE"),
    "variables_depth": ("requests", "max_variables_depth", 1, (ME, {"a": []}), 400,
                        "VARIABLES_TOO_LARGE"),
    "variables_bytes": ("requests", "max_variables_bytes", 2, (ME, {"a": 1}), 400,
                        "VARIABLES_TOO_LARGE"),
    "variables_values": ("requests", "max_variable_values", 1, (ME, {"a": [1]}), 400,
                         "VARIABLES_TOO_LARGE"),
    "characters": ("documents", "max_characters", 9, ME, 422, "DOCUMENT_TOO_LARGE"),
    "tokens": ("documents", "max_tokens", 5, ME, 422, "DOCUMENT_TOO_LARGE"),
    "directives": ("documents", "max_directives", 1,
                   "{ me @skip(if: false) { id @skip(if: true) } }", 422, "DOCUMENT_TOO_LARGE"),
    "aliases": ("documents", "max_aliases", 1, "{ a: me { b: id } }", 422, "DOCUMENT_TOO_LARGE"),
    "fragments": ("documents", "max_fragments", 1, FRAGMENTS, 422, "DOCUMENT_TOO_LARGE"),
    "variables": ("documents", "max_variables", 1, OF_TWO_VARIABLES, 422, "DOCUMENT_TOO_LARGE"),
    "unknown_names": ("documents", "max_unknown_names", 1, "{ nope nor_this }", 422,
                      "DOCUMENT_TOO_LARGE"),
    "value_depth": ("documents", "max_value_depth", 1, NESTED_VALUE, 422, "DOCUMENT_TOO_LARGE"),
    "depth": ("documents", "max_depth", 1, ME, 422, "DOCUMENT_TOO_LARGE"),
    "complexity": ("documents", "max_complexity", 1, ME, 422, "DOCUMENT_TOO_LARGE"),
    "repeats": ("documents", "max_repeats", 1, "{ me { id id } }", 422, "DOCUMENT_TOO_LARGE"),
    "root_fields": ("documents", "max_root_fields", 1, "{ me { id } tags { id } }", 422,
                    "DOCUMENT_TOO_LARGE"),
    "list_depth": ("documents", "max_list_depth", 1, LISTS, 422, "DOCUMENT_TOO_LARGE"),
    "introspection_depth": ("documents", "max_introspection_depth", 1, SCHEMA_LISTS, 422,
                            "DOCUMENT_TOO_LARGE"),
    "introspection": ("documents", "introspection", False, "{ __schema { types { name } } }",
                      422, "INTROSPECTION_DISABLED"),
    "cost": ("documents", "max_cost", 20, (OF_USERS, {"n": 100}), 422, "COST_TOO_HIGH"),
    "items": ("documents", "max_items", 1, "{ users { id } }", 294, "RESPONSE_TOO_LARGE"),
    "response": ("requests", "max_response_bytes", 10, ME, 294, "RESPONSE_TOO_LARGE"),
}  # fmt: skip


@pytest.fixture
def http(world, fresh_service):
    return Client()


def counts():
    return {name: count_refusals(name) for name in (*LIMITS, "other")}


def post(http, content):
    """``content`` is a document, a pair of document and variables, or a list of documents."""
    if isinstance(content, list):
        body = [{"query": text} for text in content]
    else:
        text, variables = (content, None) if isinstance(content, str) else content
        body = {"query": text, "variables": variables}
    accept = {"Accept": "application/graphql-response+json"}
    return http.post("/graphql", json.dumps(body), content_type="application/json", headers=accept)


@pytest.mark.parametrize("limit", CASES)
def test_a_refusal_is_counted_once_and_nowhere_else(http, settings, limit):
    section, knob, allowed, content, status, code = CASES[limit]
    knobs = replace(getattr(settings.PCF, section), **{knob: allowed})
    settings.PCF = replace(settings.PCF, **{section: knobs})
    before = counts()
    answer = post(http, content)
    after = counts()
    assert answer.status_code == status
    (error,) = answer.json()["errors"]
    told = {"code": code, "limit": limit, "allowed": allowed}
    assert told.items() <= error["extensions"].items()
    assert {n: after[n] - before[n] for n in after if after[n] != before[n]} == {limit: 1}


def test_every_limit_has_a_case_here():
    """test_rate_limits has the limits that depend on earlier requests."""
    assert set(CASES) == set(LIMITS) - {
        "rate", "concurrent", "concurrent_bytes", "concurrent_cost"
    }  # fmt: skip
