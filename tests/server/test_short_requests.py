"""Short requests: greenlets on the event loop answer them, and them alone."""

import asyncio
import gc
import json
import weakref
from dataclasses import replace
from random import Random
from types import FunctionType, MethodType
from uuid import uuid4

import pytest
from django.core import signals
from prometheus_client import REGISTRY

from notes.loaders import AllNotes, NotesByTagName
from pcf.database.backend.base import DatabaseWrapper
from pcf.execution.rows import requires_columns
from pcf.project.schema import graphql_service
from pcf.server import connection, endpoint
from pcf.server.endpoint import GraphQLEndpoint
from pcf.server.fast_path import Exchange
from tests.conftest import make_note, make_user, token_for
from tests.server.short_requests import (
    FRESH,
    GREENLET,
    NOTES,
    QUERIES,
    TAGS,
    USERS,
    data_of,
    idle_greenlets,
    keeps,
    know,
    other,
    places,
    post,
    short,
)
from tests.server.wired import contents, until, wire, wired

__all__ = ["keeps", "other", "places", "short", "wire", "wired"]


def configure(settings, **values):
    """Change the settings of the server."""
    settings.PCF = replace(settings.PCF, server=replace(settings.PCF.server, **values))


@pytest.mark.parametrize("query", QUERIES)
def test_a_greenlet_answers_a_small_query_from_its_second_run_on(wired, places, query):
    wired.ask(post(TAGS, FRESH))  # the fast path knows the server's address
    query = f"{query} # {uuid4()}"  # a document that the process does not know
    first = wired.ask(post(query, FRESH))
    assert places.take() in ([], [GREENLET])
    again = wired.ask(post(query, FRESH))
    assert places.take() == [GREENLET]
    assert contents(again) == contents(first)


NOT_SHORT = {
    "mutation": post("mutation { __typename }"),
    "introspection": post("{ __schema { queryType { name } } }", FRESH),
    "no operation": post(f"{TAGS} query Other {{ tags {{ id }} }}", FRESH),
    "no document": post("{ nothing }", FRESH),
    "a batch": post(TAGS).replace(b'{"query"', b'[{"query"').replace(b"20}}", b"20}}]"),
    "a too large body": post(TAGS + " " * 12_500, FRESH),
}


@pytest.mark.parametrize("name", NOT_SHORT)
def test_no_greenlet_answers_other_requests(short, places, monkeypatch, name):
    monkeypatch.setattr(endpoint, "MAX_SHORT_BYTES", 12_500)
    request = NOT_SHORT[name]
    if name == "a batch":
        head, _, body = request.partition(b"\r\n\r\n")
        request = head.replace(b": 112", b": %d" % len(body)) + b"\r\n\r\n" + body
    for _ in range(3):
        answer = short.ask(request)
    assert answer.whole
    assert places.take() == []


@pytest.mark.parametrize("name", ["points", "greenlets", "receiver", "middleware"])
def test_settings_keep_requests_from_greenlets(
    live_world, wire, settings, fresh_service, places, name
):
    def receiver(**_):
        """Do nothing."""

    if name == "points":
        configure(settings, short_points=1)
    elif name == "greenlets":
        configure(settings, greenlets=0)
    elif name == "middleware":
        middleware = [f"{__name__}.pass_on"]
        settings.GRAPHENE = {**settings.GRAPHENE, "MIDDLEWARE": middleware}
    else:
        signals.request_started.connect(receiver)
    try:
        wired = wire()
        for _ in range(4):
            assert wired.ask(post(NOTES, FRESH)).status == 200
    finally:
        signals.request_started.disconnect(receiver)
    assert GREENLET not in places.take()


def pass_on(following, root, info, **arguments):
    """Be a middleware of graphene."""
    return following(root, info, **arguments)


EQUAL = {
    "data": post(USERS, FRESH),
    "cost": post(NOTES, FRESH, "X-Request-Cost: 1"),
    "gzip": post(NOTES, FRESH, "Accept-Encoding: gzip"),
    "media": post(NOTES, FRESH, "Accept: application/graphql-response+json"),
    "id": post(NOTES, FRESH, "X-Request-ID: abc"),
    "variable": post(NOTES, FRESH, n="x"),
    "no variable": post(NOTES, FRESH, variables={}),
    "page": post(NOTES, FRESH, n=0),
    "page and data": post("query ($n: Int!) { notes(first: $n) { id } tags { id } }", FRESH, n=0),
    "cost of a page": post(USERS, FRESH, n=100_000_000),
    "token": post(NOTES, FRESH, "Authorization: Bearer nothing"),
    "cached token": post(NOTES, "Authorization: Bearer nothing", n=3),
    "name": post(NOTES, FRESH, operationName="Nothing"),
    "origin": post(NOTES, FRESH, "Origin: https://other.example.org"),
    "cursor": post('query ($n: Int!) { notes(first: $n, after: "x") { id } }', FRESH),
}


def load_as_before(loader, keys):
    """Be the own ``load_batch`` of a loader."""
    return super(AllNotes, loader).load_batch(keys)


BY_TAG = 'query ($n: Int!) { notes(first: $n, tag: "red") { id title } }'


@pytest.mark.parametrize(
    ("loader", "waits", "place"),
    [
        (NotesByTagName, {}, [GREENLET]),
        (NotesByTagName, {"waits_for_database_only": None}, []),
        (NotesByTagName, {"waits_for_database_only": False}, []),
        (AllNotes, {}, [GREENLET]),
        (AllNotes, {"waits_for_database_only": False}, []),
        (AllNotes, {"load_batch": load_as_before}, []),
    ],
)
def test_a_loader_whose_code_may_wait_keeps_its_query_from_greenlets(
    short, places, monkeypatch, loader, waits, place
):
    query = BY_TAG if loader is NotesByTagName else NOTES
    query = f"{query} # {uuid4()}"
    for name, value in waits.items():
        monkeypatch.setattr(loader, name, value)
    first = short.ask(post(query, FRESH))
    assert data_of(first)["notes"]
    places.take()
    assert contents(short.ask(post(query, FRESH))) == contents(first)
    assert places.take() == place


@pytest.mark.parametrize("declares", [True, False])
def test_a_resolver_without_declared_columns_keeps_its_query_from_greenlets(
    short, places, monkeypatch, declares
):
    def resolve(tag, _info):
        return f"<{tag.name}>"

    field = graphql_service()._runner._schema.type_map["Tag"].fields["name"]
    if declares:
        requires_columns("name")(resolve)
    monkeypatch.setattr(field, "resolve", resolve)
    query = f"{TAGS} # {uuid4()}"
    for _ in range(2):
        places.take()
        tags = data_of(short.ask(post(query, FRESH)))["tags"]
        assert [each["name"] for each in tags] == ["<red>", "<blue>"]
    assert places.take() == ([GREENLET] if declares else [])


WAYS = ["in a greenlet", "in a thread", "not as short"]


def test_the_answers_are_those_of_threads(live_world, wire, monkeypatch, places):
    for number in range(40):
        make_note(live_world.ann, f"a long text that gzip likes {number}")
    wired = wire()
    know(wired, places)
    answers = {}
    for way in WAYS:
        with monkeypatch.context() as patch:
            if way == "in a thread":
                patch.setattr(wired.application._process.threads, "_greenlets", None)
            elif way == "not as short":
                patch.setattr(GraphQLEndpoint, "_read_short", lambda *_: None)
            for name, request in EQUAL.items():
                wired.ask(request)
                answers[way, name] = contents(wired.ask(request))
                answers[way, name, GREENLET] = GREENLET in places.take()
    usual, *others = WAYS
    for way in others:
        for name in EQUAL:
            assert answers[way, name] == answers[usual, name], (way, name)
            assert not answers[way, name, GREENLET]
    ran = {name for name in EQUAL if answers[usual, name, GREENLET]}
    assert ran >= {"data", "gzip", "page", "page and data", "token", "variable", "cursor"}


@pytest.mark.parametrize("value", [[], {}, [[1]], {"a": 1}, 1, "x", None])
def test_a_variable_of_another_type_in_a_directive_is_an_error_of_the_client(short, caplog, value):
    query = "query ($n: Boolean!) { notes @include(if: $n) { id } tags { id } }"
    for _ in range(3):
        assert data_of(short.ask(post(query, FRESH, n=True)))["notes"]
    answer = short.ask(post(query, FRESH, n=value))
    assert "errors" in json.loads(answer.body)
    assert not [each for each in caplog.records if each.levelname == "ERROR"]


def sums():
    """Return the number of requests and the number of their statements so far."""
    return tuple(REGISTRY.get_sample_value(f"db_query_count_{name}") for name in ("count", "sum"))


@pytest.mark.parametrize("seed", range(3))
def test_many_viewers_at_once_see_their_own_rows(short, places, keeps, seed):
    random = Random(seed)
    users = [make_user(f"U{number}") for number in range(6)]
    for user in users:
        make_note(user, f"private of {user.name}", public=False)
    lines = [[FRESH, f"Authorization: Bearer {token_for(user)}"] for user in users] + [[FRESH]]
    requests = [post(query, *line) for line in lines for query in QUERIES]
    alone = {request: short.ask(request).body for request in [*requests, *requests]}
    before = sums()
    for request in requests:
        assert short.ask(request).body == alone[request]
    for_each = [now - then for now, then in zip(sums(), before, strict=True)]
    assert len({alone[post(NOTES, *line)] for line in lines}) == len(lines)

    def ask_all(order):
        async def ask(client):
            for request in order:
                answer = await client.ask_now(request)
                assert answer.body == alone[request]
                for _ in range(random.choice([0, 1, 5])):
                    await asyncio.sleep(0)

        return ask

    async def ask(_):
        clients = [await short.connect() for _ in range(8)]
        await asyncio.gather(
            *[ask_all(random.sample(requests, len(requests)))(Plain(client)) for client in clients]
        )

    places.take()
    before = sums()
    short.run(ask)
    grown = [now - then for now, then in zip(sums(), before, strict=True)]
    assert grown == [8 * number for number in for_each]
    assert places.take().count(GREENLET) > len(requests)


class Plain:
    """A client beside others: it does not wait until the server has read its bytes."""

    def __init__(self, client):
        self._client = client

    async def ask_now(self, request):
        await self._client.push(request)
        (answer,) = await self._client.read(1)
        return answer


@pytest.fixture
def exchanges(monkeypatch):
    """Weak references to the exchanges of the test, while the collector does not run."""
    found = []

    class Watched(Exchange):
        def __init__(self, *args):
            super().__init__(*args)
            found.append(weakref.ref(self))

    monkeypatch.setattr(connection, "Exchange", Watched)
    gc.disable()
    yield found
    gc.enable()


def test_the_collector_frees_no_request(short, places, other, exchanges):
    async def leave(client):
        with other.lock():
            await client.send(post(NOTES, FRESH))
            await other.until_waiting()
            client.reset()
            await until(lambda: not short.connections._open)
        await until(lambda: idle_greenlets(short) == 4)

    for request in (post(NOTES, FRESH), post(NOTES, n=11), NOT_SHORT["no document"]):
        short.ask(request)
    short.run(leave)
    assert places.take() == [GREENLET] * 3
    assert len(exchanges) == 4
    assert [exchange() for exchange in exchanges] == [None] * 4


BY_NAMES = """query ($n: Int!) {
  notesConnection(first: $n, filter: {tags: {any: {names: ["x"]}}, not: {search: "y"}}) {
    totalCount edges { cursor node { title author { name } tags { name } } }
  }
}"""


def owner_of(each):
    """Return the module of a function, or that of the class of another object."""
    is_function = isinstance(each, FunctionType | MethodType)
    return each.__module__ if is_function else type(each).__module__


@pytest.mark.parametrize("query", [*QUERIES, BY_NAMES])
def test_an_answer_leaves_nothing_of_the_engine_in_a_cycle(short, query):
    fresh = [post(f"{query} # {number}", FRESH) for number in range(2)]
    for request in (post(query, FRESH), post(query, FRESH), fresh[0]):
        data_of(short.ask(request))
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for request in (post(query, FRESH), fresh[1]):
            data_of(short.ask(request))
        gc.collect()
        owners = {owner_of(each) or "" for each in gc.garbage}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    owners -= {DatabaseWrapper.__module__}  # of a thread that has ended
    assert not [owner for owner in owners if owner.startswith("pcf.")]


def test_two_equal_misses_at_once_execute_once(short, places, other, grown):
    short.ask(post(NOTES, n=7))

    async def ask(client):
        second = await short.connect()
        with other.lock():
            await client.send(post(NOTES, n=9))
            await other.until_waiting()
            await second.send(post(NOTES, n=9))
            await asyncio.sleep(0.1)
            assert other.waiting() == 1
        return [*await client.read(1), *await second.read(1)]

    places.take(), grown()
    answers = short.run(ask)
    assert places.take() == [GREENLET, GREENLET]
    assert answers[0].body == answers[1].body
    assert grown()["flights joined"] == 1.0
