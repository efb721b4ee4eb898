"""The export of one's data."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from notes import export
from tests.conftest import make_note, token_for
from users import sessions
from users.models import ApiToken

pytestmark = pytest.mark.django_db

PATH = "/account/export"


def get(token=None, query="", **headers):
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return Client().get(PATH + query, headers=headers)


def content(response):
    return json.loads(b"".join(response.streaming_content))


def test_the_document_has_all_data_of_the_viewer_and_of_nobody_else(world):
    ann = world.ann
    session = sessions.begin(ann, device="phone", scope="write", has_cookie=False)
    token = token_for(ann, "read")
    trashed = make_note(ann, "trashed", world.red)
    type(trashed).objects.filter(pk=trashed.pk).update(deleted_at=timezone.now())
    response = get(token)
    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    assert response["Cache-Control"] == "no-store"
    assert response["Content-Disposition"] == 'attachment; filename="account.json"'
    found = content(response)
    assert found["user"]["username"] == "ann"
    assert found["user"]["email"] == "ann@example.org"
    assert [each["device"] for each in found["sessions"]] == ["phone"]
    assert [each["name"] for each in found["tokens"]] == ["test"]
    assert [(each["title"], each["tags"]) for each in found["notes"]] == [
        ("public of ann", ["red"]),
        ("private of ann", ["blue", "red"]),
        ("trashed", ["red"]),
    ]
    assert found["notes"][2]["deletedAt"] is not None
    assert found["next"] is None
    for secret in (token, session.access_token, session.refresh_token, ann.password or "x" * 9):
        assert secret not in json.dumps(found)


def test_notes_come_in_batches_with_two_statements_each(world, monkeypatch):
    monkeypatch.setattr(export, "BATCH", 2)
    for number in range(5):
        make_note(world.bob, f"note {number}", world.red)
    found = json.loads(b"".join(export.document(world.bob)))
    assert len(found["notes"]) == 6


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_a_document_is_bounded_and_the_next_one_goes_on(world, monkeypatch, batch):
    monkeypatch.setattr(export, "BATCH", batch)
    monkeypatch.setattr(export, "MAX_BYTES", 300)
    for number in range(4):
        make_note(world.bob, f"note {number}")
    token = token_for(world.bob)
    titles, query, documents = [], "", 0
    while True:
        found = content(get(token, query))
        titles += [each["title"] for each in found["notes"]]
        documents += 1
        if found["next"] is None:
            break
        query = f"?after={found['next']}"
    assert titles == ["private of bob", "note 0", "note 1", "note 2", "note 3"]
    assert documents == 3


def test_nobody_else_gets_the_document(world):
    assert get().status_code == 401
    assert get("x").status_code == 401
    revoked = ApiToken.issue(world.ann, "t", revoked_at=timezone.now())[1]
    expired = ApiToken.issue(world.ann, "t", expires_at=timezone.now() - timedelta(1))[1]
    for text in (revoked, expired):
        response = get(text)
        assert response.status_code == 401
        assert response.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    assert Client().post(PATH).status_code == 405


def test_the_cookie_is_for_pages_of_the_same_origin(world, settings):
    requests = replace(settings.PCF.requests, session_cookie="pcf_session")
    settings.PCF = replace(settings.PCF, requests=requests)
    access = sessions.begin(world.ann, device="", scope="write", has_cookie=True)
    cookie = f"pcf_session={access.access_token}"
    own = get(Cookie=cookie, **{"Sec-Fetch-Site": "same-origin"})
    assert content(own)["user"]["username"] == "ann"
    assert get(Cookie=cookie, **{"Sec-Fetch-Site": "cross-site"}).status_code == 403


def test_a_viewer_gets_a_bounded_number_of_documents(world, settings, monkeypatch):
    settings.PCF = replace(settings.PCF, rates=replace(settings.PCF.rates, enabled=True))
    monkeypatch.setattr(export, "PER_HOUR", 2)
    token = token_for(world.ann)
    assert [get(token).status_code for _ in range(3)] == [200, 200, 429]
    assert int(get(token)["Retry-After"]) > 60
    assert get(token_for(world.bob)).status_code == 200


@pytest.mark.parametrize("query", ["?after=x", "?after=-1", "?after=", f"?after={10**30}"])
def test_odd_positions_are_no_errors(world, query):
    assert len(content(get(token_for(world.ann), query))["notes"]) == 2
