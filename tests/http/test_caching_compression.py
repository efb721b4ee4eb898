"""The content codings of responses: the client's choice, or the coding of the cache's entry."""

import gzip
import json
from dataclasses import replace
from urllib.parse import urlencode

import brotli
import pytest
from django.test import Client

from pcf.http import caching
from pcf.project.schema import graphql_service
from tests.conftest import make_note, token_for

NOTES = "{ notes(first: 40) { id title content } }"
PARTLY = "{ notes(first: 40) { id title content } slowQuery(delay: -1) }"
CREATE = """mutation($content: String!) {
    createNote(input: {title: "t", content: $content}) { note { content } } }"""
NO_STORE = {"Cache-Control": "no-store"}
DECODERS = {"br": brotli.decompress, "gzip": gzip.decompress, "": bytes}


@pytest.fixture
def notes(live_world):
    for number in range(40):
        make_note(live_world.ann, f"a long text that compresses well {number}")
    return live_world


def get(query=NOTES, accepts="", method="get", **headers):
    headers = {"Accept-Encoding": accepts, **headers}
    return getattr(Client(), method)("/graphql?" + urlencode({"query": query}), headers=headers)


def post(content, accepts="", **headers):
    headers = {"Accept-Encoding": accepts, **headers}
    body = json.dumps(content)
    return Client().post("/graphql", body, content_type="application/json", headers=headers)


def content_of(answer):
    assert answer["Content-Length"] == str(len(answer.content))
    assert "Accept-Encoding" in answer["Vary"]
    return json.loads(DECODERS[answer.get("Content-Encoding", "")](answer.content))


@pytest.mark.parametrize(
    ("accepts", "coding"),
    [
        ("", ""),
        ("gzip", "gzip"),
        ("br", "br"),
        ("gzip, deflate, br, zstd", "br"),
        ("GZIP, BR", "br"),
        ("br;q=0.5, gzip;q=0.5", "br"),
        ("br;q=0.9, gzip", "gzip"),
        ("br;q=0.001", "br"),
        ("br;q=0, gzip;q=0.1", "gzip"),
        ("*", "br"),
        ("br;q=0, *;q=0.2", "gzip"),
        ("gzip;q=0.2, *;q=0.1", "gzip"),
        ("*;q=0", ""),
        ("gzip;q=0, br;q=0", ""),
        ("br;q=high", ""),
        ("identity", ""),
        ("identity, gzip;q=0.5, br;q=0.4", ""),
        ("identity;q=0.5, gzip;q=0.5", "gzip"),
        ("identity;q=0", ""),
        ("deflate, zstd, compress", ""),
    ],
)
def test_the_weights_of_the_client_choose_the_coding(accepts, coding):
    assert caching.best_coding(accepts) == coding


@pytest.mark.parametrize(
    ("accepts", "coding"), [("", ""), ("gzip", "gzip"), ("gzip, br", "br"), ("br;q=0.1, *", "gzip")]
)
def test_a_bypass_is_compressed(notes, accepts, coding):
    answer = get(accepts=accepts, **NO_STORE)
    assert answer["Cache-Status"] == "pcf; fwd=bypass"
    assert answer.get("Content-Encoding", "") == coding
    assert content_of(answer) == content_of(get(**NO_STORE))
    assert answer["ETag"].endswith(f'-{coding}"' if coding else '"')


@pytest.mark.parametrize("coding", ["br", "gzip"])
def test_errors_with_data_are_compressed(notes, coding):
    answer = get(PARTLY, accepts=coding)
    assert answer["Content-Encoding"] == coding
    content = content_of(answer)
    assert len(content["data"]["notes"]) == 40
    assert content["errors"]
    assert "ETag" not in answer


@pytest.mark.parametrize("coding", ["br", "gzip"])
def test_mutations_are_compressed(notes, coding):
    asked = {"query": CREATE, "variables": {"content": "long " * 1_000}}
    bearer = {"Authorization": f"Bearer {token_for(notes.ann)}"}
    answer = post(asked, coding, **bearer)
    assert answer["Content-Encoding"] == coding
    assert len(answer.content) < 500
    assert content_of(answer)["data"]["createNote"]["note"]["content"].startswith("long long")


@pytest.mark.parametrize("coding", ["br", "gzip"])
def test_a_miss_that_is_not_stored_is_compressed(notes, settings, coding):
    settings.PCF = replace(settings.PCF, cache=replace(settings.PCF.cache, max_body_bytes=10))
    answer = get(accepts=coding)
    assert answer["Cache-Status"] == "pcf; fwd=miss"
    assert answer["Content-Encoding"] == coding
    assert content_of(answer) == content_of(get())


def test_a_miss_that_the_fence_refuses_is_compressed(notes, monkeypatch):
    monkeypatch.setattr(graphql_service()._cache, "store", lambda *_, **__: False)
    for accepts, coding in (("br, gzip", "br"), ("gzip", "gzip"), ("", "")):
        answer = get(accepts=accepts)
        assert answer["Cache-Status"] == "pcf; fwd=miss"
        assert answer.get("Content-Encoding", "") == coding
        assert len(content_of(answer)["data"]["notes"]) == 40


def test_a_stored_response_is_sent_as_it_is_stored(notes):
    for _ in range(2):
        for accepts, coding in (("br, gzip", "gzip"), ("br", ""), ("", "")):
            answer = get(accepts=accepts)
            assert answer["Cache-Status"] in {"pcf; fwd=miss; stored", "pcf; hit"}
            assert answer.get("Content-Encoding", "") == coding
            assert len(content_of(answer)["data"]["notes"]) == 40


def test_each_coding_has_a_tag_of_its_own(notes):
    answers = {coding: get(accepts=coding, **NO_STORE) for coding in DECODERS}
    tags = {coding: answer["ETag"] for coding, answer in answers.items()}
    assert len(set(tags.values())) == 3
    for coding, tag in tags.items():
        for other, other_tag in tags.items():
            asked = {**NO_STORE, "If-None-Match": tag}
            answer = get(accepts=other, **asked)
            assert answer.status_code == (304 if other == coding else 200)
            assert answer["ETag"] == other_tag
            if other == coding:
                assert answer.content == b""
                assert not {"Content-Encoding", "Content-Length"} & set(answer.headers)


def test_the_same_tag_stands_for_the_same_bytes_hit_or_bypass(notes):
    get(accepts="gzip")
    hit, bypass = get(accepts="gzip"), get(accepts="gzip", **NO_STORE)
    assert (hit["Cache-Status"], hit["ETag"]) == ("pcf; hit", bypass["ETag"])
    assert hit.content == bypass.content


def test_a_client_with_a_response_in_br_gets_the_hit_in_gzip(notes):
    tag = get(accepts="br, gzip", **NO_STORE)["ETag"]
    get()
    answer = get(accepts="br, gzip", **{"If-None-Match": tag})
    assert (answer.status_code, answer["Content-Encoding"]) == (200, "gzip")
    assert get(accepts="gzip", **{"If-None-Match": answer["ETag"]}).status_code == 304


@pytest.mark.parametrize("query", [NOTES, PARTLY])
def test_head_has_the_headers_of_get(notes, query):
    one = get(query, "br, gzip", **NO_STORE)
    other = get(query, "br, gzip", method="head", **NO_STORE)
    for name in ("Content-Encoding", "Content-Length", "Vary", "Cache-Status"):
        assert other[name] == one[name]
    assert (one["Content-Encoding"], other.content) == ("br", b"")


def test_a_batch_is_not_compressed(notes, settings):
    settings.PCF = replace(settings.PCF, requests=replace(settings.PCF.requests, max_batch=2))
    answer = post([{"query": NOTES}, {"query": PARTLY}], "br, gzip", **NO_STORE)
    assert "Content-Encoding" not in answer
    assert [len(part["data"]["notes"]) for part in answer.json()] == [40, 40]


@pytest.mark.parametrize(("threshold", "coding"), [(0, "br"), (1, "")])
def test_a_response_below_the_threshold_is_not_compressed(notes, settings, threshold, coding):
    size = len(get(PARTLY).content)
    cache = replace(settings.PCF.cache, compress_from_bytes=size + threshold)
    settings.PCF = replace(settings.PCF, cache=cache)
    assert get(PARTLY, "br").get("Content-Encoding", "") == coding
    assert get(PARTLY, "br").get("Content-Length") == str(len(get(PARTLY, "br").content))


@pytest.mark.parametrize("query", [NOTES, PARTLY])
def test_a_response_that_hardly_shrinks_is_not_compressed(notes, monkeypatch, query):
    monkeypatch.setattr("pcf.cache.entries._WORTH", 0.0)
    answer = get(query, "br, gzip", **NO_STORE)
    assert "Content-Encoding" not in answer
    assert len(content_of(answer)["data"]["notes"]) == 40
