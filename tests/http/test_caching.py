"""The headers for HTTP caches, and conditional requests."""

from dataclasses import replace
from urllib.parse import urlencode

import pytest
from django.test import Client
from django_redis import get_redis_connection
from graphql import parse

from pcf.execution.cache_hints import CacheHint
from pcf.execution.context import RequestContext
from pcf.execution.executor import execute
from pcf.http import operation_runner
from pcf.project.schema import schema
from pcf.viewer import ANONYMOUS, Viewer
from tests.conftest import token_for

NOTES = "{ notes { title } }"
TAGS = "{ tags { name } }"
FRAGMENTS = "{ tags { ...T } } fragment T on Tag { id ... on Tag { name __typename } }"


@pytest.fixture
def get():
    client = Client()

    def ask(query, token=None, **headers):
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return client.get("/graphql?" + urlencode({"query": query}), headers=headers)

    return ask


@pytest.mark.parametrize(
    "query", [TAGS, FRAGMENTS, "{ __typename }", "{ __schema { types { name } } }"]
)
def test_any_cache_may_store_a_public_response(live_world, get, query):
    for response in (get(query), get(query)):
        assert response["Cache-Control"] == "public, max-age=300"
        assert response["Vary"] == "Accept, Accept-Encoding"
    assert int(response["Age"]) < 60


@pytest.mark.parametrize(
    "query", [NOTES, "{ tags { name notes { id } } }", "{ tags { id } users { id } }"]
)
def test_other_responses_are_private_and_revalidated(live_world, get, query):
    for response in (get(query), get(query)):
        assert response["Cache-Control"] == "private, no-cache"
        assert response["Vary"] == "Accept, Accept-Encoding, Authorization"


def test_public_responses_are_shared_by_all_viewers_and_no_others_are(live_world, get):
    ann, bob = token_for(live_world.ann), token_for(live_world.bob)
    assert get(TAGS, ann)["Cache-Status"] == "pcf; fwd=miss; stored"
    for token in (ann, bob, None):
        assert get(TAGS, token)["Cache-Status"] == "pcf; hit"
    assert get(NOTES, ann)["Cache-Status"] == "pcf; fwd=miss; stored"
    assert get(NOTES, bob)["Cache-Status"] == "pcf; fwd=miss; stored"
    assert get(TAGS, "nobody's").status_code == 401


SHARED = [
    "{ users { id name createdAt } }",
    "query($id: ID = 1) { user(id: $id) { name } }",
    "{ tags { id } users { id } }",
]
OWN = ["{ users { email } }", "{ users { notes { id } } }", "{ me { id } }"]


@pytest.mark.parametrize("query", SHARED)
def test_a_shared_response_is_stored_once_and_by_no_http_cache(live_world, get, query):
    ann, bob = token_for(live_world.ann), token_for(live_world.bob)
    assert get(query, ann)["Cache-Status"] == "pcf; fwd=miss; stored"
    for token in (ann, bob, None):
        found = get(query, token)
        assert found["Cache-Status"] == "pcf; hit"
        assert found["Cache-Control"] == "private, no-cache"
        assert found["Vary"] == "Accept, Accept-Encoding, Authorization"


@pytest.mark.parametrize("query", OWN)
def test_one_field_that_is_not_shared_makes_the_response_private(live_world, get, query):
    for viewer in (live_world.ann, live_world.bob):
        assert get(query, token_for(viewer))["Cache-Status"] == "pcf; fwd=miss; stored"


@pytest.mark.parametrize("query", [*SHARED, TAGS, FRAGMENTS])
def test_shared_and_public_fields_are_the_same_for_every_viewer(live_world, query):
    """The test executes the fields for each viewer, which the service does not."""
    viewers = [ANONYMOUS, *(Viewer(user.pk) for user in (live_world.ann, live_world.bob))]
    viewers.append(Viewer(live_world.staff.pk, is_staff=True))
    answers = [
        execute(schema.graphql_schema, parse(query), context_value=RequestContext(viewer))
        for viewer in viewers
    ]
    assert all(answer == answers[0] and answer.errors is None for answer in answers)


def test_a_write_removes_public_responses_too(live_world, get):
    get(TAGS), get(TAGS)
    live_world.red.name = "crimson"
    live_world.red.save()
    assert get(TAGS).json()["data"]["tags"][0]["name"] == "crimson"


def test_hit_and_miss_have_the_tag_of_the_content(live_world, get):
    miss, hit = get(NOTES), get(NOTES)
    assert miss["ETag"] == hit["ETag"]
    assert miss["ETag"].startswith('"')
    live_world.public.title = "other"
    live_world.public.save()
    assert get(NOTES)["ETag"] != miss["ETag"]
    bypassed = get(NOTES, **{"Cache-Control": "no-store"})
    assert bypassed["ETag"] == get(NOTES)["ETag"]


def test_a_client_with_the_content_gets_304_on_miss_and_hit(live_world, get):
    tag = get(NOTES)["ETag"]
    for known in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        response = get(NOTES, **{"If-None-Match": known})
        assert (response.status_code, response.content) == (304, b"")
        assert response["ETag"] == tag
        assert response["Cache-Status"] == "pcf; hit"
        assert {"Cache-Control", "Vary", "Age"} <= set(response.headers)
        assert not {"Content-Type", "Content-Length", "Content-Encoding"} & set(response.headers)
    live_world.public.save()  # the entry is gone, but the content stays the same
    response = get(NOTES, **{"If-None-Match": tag})
    assert response.status_code == 304
    assert response["Cache-Status"] == "pcf; fwd=miss; stored"
    live_world.public.title = "other"
    live_world.public.save()
    assert get(NOTES, **{"If-None-Match": tag}).status_code == 200


def test_the_two_media_types_are_two_representations(live_world, get):
    newer = "application/graphql-response+json"
    one, other = get(NOTES), get(NOTES, Accept=newer)
    assert one["ETag"] != other["ETag"]
    assert get(NOTES, **{"If-None-Match": other["ETag"]}).status_code == 200
    assert get(NOTES, Accept=newer, **{"If-None-Match": other["ETag"]}).status_code == 304


def test_a_post_is_never_answered_with_304(live_world, ask):
    tag = ask(NOTES).headers["ETag"]
    answer = ask(NOTES, **{"If-None-Match": tag})
    assert (answer.status, answer.cache_status) == (200, "pcf; hit")


@pytest.mark.parametrize(
    "query",
    ["{ notes(first: 0) { title } }", "{ nope }", "{ slowQuery(delay: 0) }",
     'mutation { deleteNote(input: {id: "1"}) { deletedId } }'],
)  # fmt: skip
def test_errors_mutations_and_uncacheable_queries_say_no_store(live_world, ask, query):
    answer = ask(query)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.cache_status.startswith("pcf; fwd=")


def test_a_time_to_live_of_zero_switches_storing_off(live_world, ask, settings, grown):
    settings.PCF = replace(settings.PCF, cache=replace(settings.PCF.cache, default_ttl=0))
    answers = [ask(TAGS) for _ in range(2)]
    assert {answer.cache_status for answer in answers} == {"pcf; fwd=miss"}
    assert {answer.headers["Cache-Control"] for answer in answers} == {"no-store"}
    assert grown() == {"misses": 2, "refused_stores uncacheable": 2}


def test_a_response_over_the_limit_is_not_stored(live_world, ask, settings, grown):
    settings.PCF = replace(settings.PCF, cache=replace(settings.PCF.cache, max_body_bytes=10))
    assert [ask(TAGS).cache_status for _ in range(2)] == ["pcf; fwd=miss"] * 2
    assert grown() == {"misses": 2, "refused_stores size": 2}


@pytest.fixture
def stale_tags(monkeypatch):
    """Tags may be served stale for a minute. No field of the project's schema may be."""
    hint = CacheHint(public=True, max_age=100, stale=60)
    monkeypatch.setattr("pcf.execution.cache_hints._declared", lambda *_: hint)


def expire(settings, left):
    """Make every stored response expire from Redis after ``left`` ms."""
    client = get_redis_connection("default")
    for name in client.scan_iter(match=f"{settings.PCF.cache.prefix}:e:shared:*"):
        client.pexpire(name, left)


def test_a_stale_response_is_served_while_the_leader_executes(
    live_world, ask, get, settings, stale_tags, monkeypatch
):
    query = "{ other: tags { id } }"
    fresh = get(query)
    assert fresh["Cache-Control"] == "public, max-age=100, stale-while-revalidate=60"
    expire(settings, 50_000)
    served = []
    execute = operation_runner.execute

    def ask_meanwhile(*arguments, **how):
        served.append(get(query))
        return execute(*arguments, **how)

    monkeypatch.setattr(operation_runner, "execute", ask_meanwhile)
    anew = get(query)
    assert anew["Cache-Status"] == "pcf; fwd=miss; stored"
    assert served[0]["Cache-Status"].startswith("pcf; hit; ttl=-")
    assert int(served[0]["Age"]) > 100
    assert get(query)["Cache-Status"] == "pcf; hit"
    assert len(served) == 1


def test_a_write_removes_the_stale_response(live_world, get, settings, stale_tags):
    query = "{ another: tags { id name } }"
    get(query)
    expire(settings, 50_000)
    live_world.red.name = "crimson"
    live_world.red.save()
    assert "crimson" in get(query).content.decode()
