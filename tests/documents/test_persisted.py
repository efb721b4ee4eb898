"""Clients register documents by hash, or name the documents of a manifest."""

import hashlib
import json
from dataclasses import replace

import pytest
from django.test import Client
from django_redis import get_redis_connection

from pcf.cache.redis_gateway import redis_gateway
from pcf.conf.sections import ConfigError, DocumentSettings, PersistedSettings
from pcf.documents.document import DocumentStore, InvalidDocument
from pcf.documents.persisted import (
    HashMismatch,
    NotTrusted,
    PersistedDocuments,
    PersistedNotFound,
    PersistedNotSupported,
    PersistedStore,
    load_manifest,
)
from pcf.project.schema import schema

ME = "{ me { id } }"
USERS = "{ users { id } }"


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def documents(manifest=None, mode="automatic", **limits):
    """Return the documents of one process. All processes share the texts in Redis."""
    store = DocumentStore(schema.graphql_schema, DocumentSettings(**limits))
    return PersistedDocuments(store, PersistedStore(redis_gateway()), manifest or {}, mode)


def test_a_hash_is_known_after_a_request_with_its_text():
    one, other = documents(), documents()
    with pytest.raises(PersistedNotFound):
        one.find("", sha256(ME))
    assert register(one, ME).text == ME
    assert one.find("", sha256(ME)).text == ME  # from the store of the process
    assert other.find("", sha256(ME)).text == ME  # from Redis


def test_a_text_without_a_hash_is_not_registered_for_others():
    documents().find(ME, None)
    with pytest.raises(PersistedNotFound):
        documents().find("", sha256(ME))


def test_a_hash_of_another_text_is_refused_and_not_registered():
    with pytest.raises(HashMismatch):
        documents().find(ME, sha256(USERS))
    with pytest.raises(PersistedNotFound):
        documents().find("", sha256(USERS))


def register(service, text, client="a1"):
    """Do what the service does after an answer without errors."""
    document = service.find(text, sha256(text))
    service.register(document, client)
    return document


def test_invalid_documents_are_not_registered():
    with pytest.raises(InvalidDocument):
        documents().find("{ nope }", sha256("{ nope }"))
    with pytest.raises(PersistedNotFound):
        documents().find("", sha256("{ nope }"))


def test_a_text_from_redis_is_checked_against_its_hash(settings):
    register(documents(), ME)
    name = f"{settings.PCF.cache.prefix}:p:{sha256(ME)}"
    client = get_redis_connection("default")
    assert 86_000 < client.ttl(name) <= 86_400
    client.set(name, USERS)
    with pytest.raises(PersistedNotFound):
        documents().find("", sha256(ME))


@pytest.mark.parametrize("name", ["x", "../etc/passwd", sha256(ME).upper(), "*", "p:" + "0" * 62])
def test_only_digests_are_looked_for(name):
    register(documents(), ME)
    with pytest.raises(PersistedNotFound):
        documents().find("", name)


def test_no_more_than_so_many_are_kept(settings):
    settings.PCF = replace(settings.PCF, persisted=PersistedSettings(max_documents=2))
    texts = [f"{{ me {{ id }} }} # {n}" for n in range(3)]
    for text in texts:
        register(documents(), text)
    found = [PersistedStore(redis_gateway()).get(sha256(text)) for text in texts]
    assert len([text for text in found if text]) == 2


def test_a_document_that_the_process_has_forgotten_is_found_in_redis():
    small = documents(remembered=1)
    register(small, ME)
    small.find(USERS, None)
    assert small.find("", sha256(ME)).text == ME


def test_without_redis_a_hash_is_not_found_and_registering_does_no_harm(monkeypatch):
    from pcf.cache.redis_gateway import CacheUnavailable, RedisGateway

    def down(*_):
        raise CacheUnavailable

    monkeypatch.setattr(RedisGateway, "run", down)
    one = documents()
    assert register(one, ME).text == ME
    assert one.find("", sha256(ME)).text == ME
    with pytest.raises(PersistedNotFound):
        documents().find("", sha256(ME))


def test_registering_can_be_switched_off():
    off = documents({"me-1": ME}, mode="off")
    assert off.find(USERS, None).text == USERS
    assert register(off, USERS).text == USERS
    assert off.find("", "me-1").text == ME
    with pytest.raises(PersistedNotSupported):
        off.find("", sha256(USERS))
    with pytest.raises(PersistedNotFound):
        documents().find("", sha256(USERS))


def test_the_mode_only_refuses_everything_that_is_not_in_the_manifest():
    register(documents(), USERS)  # registered in another mode, so not trusted here
    only = documents({"me-1": ME}, mode="only")
    assert only.find("", "me-1").text == ME
    assert only.find(ME, None).text == ME
    for text, name in ((USERS, None), ("", sha256(USERS)), (ME + " ", None), ("", "me-2")):
        with pytest.raises(NotTrusted):
            only.find(text, name)


@pytest.mark.parametrize(
    "content",
    [
        {"abc": ME, "def": USERS},
        {"sha256:abc": ME, "def": USERS},
        {"abc": {"name": "Me", "source": ME}, "def": {"name": "Users", "source": USERS}},
        {
            "format": "apollo-persisted-query-manifest",
            "version": 1,
            "operations": [
                {"id": "abc", "name": "Me", "type": "query", "body": ME},
                {"id": "def", "name": "Users", "type": "query", "body": USERS},
            ],
        },
    ],
)
def test_manifests_of_common_tools_are_read(tmp_path, content):
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(content))
    assert load_manifest(str(path)) == {"abc": ME, "def": USERS}


@pytest.mark.parametrize(
    "content",
    [
        "", "[]", "{}", '{"a": 1}', '{"a": ""}', '{"a": {"text": "x"}}', "null", "{",
        '{"format": "apollo-persisted-query-manifest", "version": 2, "operations": []}',
        '{"format": "apollo-persisted-query-manifest", "version": 1, "operations": [1]}',
    ],
)  # fmt: skip
def test_an_invalid_manifest_is_a_clear_error(tmp_path, content):
    path = tmp_path / "manifest.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"persisted\.manifest"):
        load_manifest(str(path))


def test_a_manifest_that_is_not_there_is_a_clear_error(tmp_path):
    assert load_manifest("") == {}
    with pytest.raises(ConfigError, match="cannot be read"):
        load_manifest(str(tmp_path / "no.json"))


@pytest.mark.parametrize("wrong", [{"mode": "x"}, {"mode": "only"}, {"ttl": 0}])
def test_settings_that_cannot_work_are_refused(wrong):
    with pytest.raises(ConfigError, match="persisted"):
        PersistedSettings(**wrong)


# -- over HTTP


@pytest.fixture
def http(db):
    return Client()


def apq(text):
    return {"persistedQuery": {"version": 1, "sha256Hash": sha256(text)}}


def post(http, content, **headers):
    return http.post(
        "/graphql", json.dumps(content), content_type="application/json", headers=headers
    )


def test_the_way_that_clients_go(http):
    """A client sends the hash, then the text with the hash, and then the hash alone."""
    text = "{ me { id } } # the way"
    first = post(http, {"extensions": apq(text)})
    assert first.json()["errors"][0]["message"] == "PersistedQueryNotFound"
    assert first.json()["errors"][0]["extensions"]["code"] == "PERSISTED_QUERY_NOT_FOUND"
    assert first.status_code == 200
    newer = post(http, {"extensions": apq(text)}, Accept="application/graphql-response+json")
    assert newer.status_code == 400
    assert post(http, {"query": text, "extensions": apq(text)}).json() == {"data": {"me": None}}
    assert post(http, {"extensions": apq(text)}).json() == {"data": {"me": None}}
    by_get = http.get("/graphql", {"extensions": json.dumps(apq(text))})
    assert by_get.json() == {"data": {"me": None}}
    by_id = http.get("/graphql", {"documentId": "sha256:" + sha256(text)})
    assert by_id.json() == {"data": {"me": None}}


def test_a_mutation_by_its_hash_is_still_no_matter_for_get(http):
    text = "mutation { __typename } # by hash"
    assert post(http, {"query": text, "extensions": apq(text)}).status_code == 200
    assert http.get("/graphql", {"documentId": sha256(text)}).status_code == 405


@pytest.mark.parametrize(
    "parameters",
    [
        {"extensions": {"persistedQuery": {"version": 2, "sha256Hash": "a"}}},
        {"extensions": {"persistedQuery": {"version": 1}}},
        {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": 1}}},
        {"extensions": {"persistedQuery": "a"}},
        {"documentId": ""},
        {"documentId": 1},
        {"documentId": "a" * 257},
        {"documentId": "a", "extensions": apq(ME)},
        {"documentId": "a", "query": ""},
    ],
)
def test_names_of_documents_have_a_form(http, parameters):
    answer = post(http, parameters)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["extensions"]["code"] == "BAD_REQUEST"


def test_the_name_of_a_document_has_256_characters_at_most(http):
    """The test before this one holds that 257 are too many."""
    answer = post(http, {"documentId": "a" * 256})
    assert answer.json()["errors"][0]["extensions"]["code"] == "PERSISTED_QUERY_NOT_FOUND"


def test_a_wrong_hash_over_http(http):
    answer = post(http, {"query": ME, "extensions": apq(USERS)})
    assert answer.json()["errors"][0]["extensions"]["code"] == "PERSISTED_QUERY_HASH_MISMATCH"


NEWER = "application/graphql-response+json"


@pytest.fixture
def only_trusted(settings, tmp_path, fresh_service):
    """Trust ``ME`` alone, under the id me-1."""
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({"me-1": ME}))
    settings.PCF = replace(
        settings.PCF,
        persisted=PersistedSettings(mode="only", manifest=str(path)),
        requests=replace(settings.PCF.requests, max_batch=3),
    )


@pytest.mark.parametrize(("accept", "status"), [("application/json", 200), (NEWER, 400)])
def test_untrusted_documents_are_refused_over_http(http, only_trusted, accept, status):
    refused = [
        post(http, parameters, Accept=accept)
        for parameters in (
            {"query": USERS},
            {"query": ME + " "},
            {"query": USERS, "extensions": apq(USERS)},
            {"extensions": apq(ME)},  # the manifest holds the text under another id
            {"documentId": "me-2"},
        )
    ] + [
        http.get("/graphql", parameters, headers={"Accept": accept})
        for parameters in (
            {"query": USERS},
            {"documentId": "me-2"},
            {"extensions": json.dumps(apq(USERS))},
        )
    ]
    for answer in refused:
        assert answer.status_code == status
        (error,) = answer.json()["errors"]
        assert error["extensions"] == {"code": "DOCUMENT_NOT_TRUSTED"}
        assert "data" not in answer.json()
        assert answer["Cache-Control"] == "no-store"


def test_trusted_documents_are_answered_over_http(http, only_trusted):
    for parameters in ({"query": ME}, {"documentId": "me-1"}):
        assert post(http, parameters).json() == {"data": {"me": None}}
        assert http.get("/graphql", parameters).json() == {"data": {"me": None}}


@pytest.mark.parametrize("accept", ["application/json", NEWER])
def test_a_part_of_a_batch_that_is_not_trusted_is_refused_alone(http, only_trusted, accept):
    batch = [{"query": ME}, {"query": USERS}, {"documentId": "me-1"}]
    answer = post(http, batch, Accept=accept)
    assert answer.status_code == 200
    first, second, third = answer.json()
    assert first == third == {"data": {"me": None}}
    assert second["errors"][0]["extensions"] == {"code": "DOCUMENT_NOT_TRUSTED"}


def test_a_public_document_by_its_hash_is_for_shared_caches(live_world, ask, client):
    """A CDN gets a short URL, a lifetime, and a validator."""
    text = "{ tags { name } } # by its hash"
    # register the document, cache nothing
    ask(text, extensions=apq(text), **{"Cache-Control": "no-store"})

    def get(**headers):
        return client.get("/graphql", {"documentId": f"sha256:{sha256(text)}"}, headers=headers)

    miss, hit = get(), get()
    assert [answer["Cache-Status"] for answer in (miss, hit)] == [
        "pcf; fwd=miss; stored",
        "pcf; hit",
    ]
    for answer in (miss, hit):
        assert answer.json() == {"data": {"tags": [{"name": "red"}, {"name": "blue"}]}}
        assert answer["Cache-Control"] == "public, max-age=300"
        assert answer["Vary"] == "Accept, Accept-Encoding"
    assert miss["ETag"] == hit["ETag"]

    same = get(**{"If-None-Match": hit["ETag"]})
    assert (same.status_code, same.content) == (304, b"")
    assert same["ETag"] == hit["ETag"]
    assert same["Cache-Control"] == "public, max-age=300"
    assert same["Vary"] == "Accept, Accept-Encoding"

    live_world.red.name = "crimson"
    live_world.red.save()
    changed = get(**{"If-None-Match": hit["ETag"]})
    assert changed.status_code == 200
    assert changed["ETag"] != hit["ETag"]
    live_world.red.name = "red"
    live_world.red.save()
    as_before = get(**{"If-None-Match": hit["ETag"]})
    assert (as_before.status_code, as_before["Cache-Status"]) == (304, "pcf; fwd=miss; stored")
