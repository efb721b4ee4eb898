"""The service refuses hostile documents before it asks PostgreSQL or Redis."""

import hashlib
import json
from functools import partial

import pytest

from pcf.database.query_log import count_queries
from tests.attacks import DOCUMENTS
from tests.http.wsgi import CountingDjango, environ_of
from tests.http.wsgi import call as call_wsgi

NEWER = {"accept": "application/graphql-response+json"}


@pytest.fixture(params=["WSGI", "ASGI"])
def call(request, live_world, serving):
    """``call(environ)`` returns the answer."""
    return partial(call_wsgi, CountingDjango()) if request.param == "WSGI" else serving().call


def body_of(text, **parameters):
    return json.dumps({"query": text, **parameters}).encode()


def registering(text):
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": digest}}}


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer guess"}], ids=["", "a token"])
def test_a_hostile_document_costs_no_statement_and_no_command(call, commands, headers):
    """The service does not look up the token of a hostile document either."""
    call(environ_of(body_of("{ nope }")))  # makes what the first request of a process makes
    for name, text in DOCUMENTS.items():
        for parameters in ({}, registering(text)):
            commands.clear()
            with count_queries() as queries:
                body = body_of(text, **parameters)
                reply = call(environ_of(body, **NEWER, **headers))
            assert reply.status[:3] in ("400", "422"), name
            assert b'"data"' not in reply.body, name
            assert (queries.count, commands) == (0, []), name


def test_both_counts_see_a_valid_document(call, commands):
    with count_queries() as queries:
        reply = call(environ_of(body_of("{ users { id } tags { id } }"), **NEWER))
    assert reply.status == "200 OK"
    assert queries.count > 0
    assert commands
