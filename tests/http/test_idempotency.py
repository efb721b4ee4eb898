"""Idempotency keys: the stored answer again, and never a second write."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.test import Client
from django.utils import timezone

from notes import mutations
from notes.models import Note
from pcf.http.idempotency import IdempotentOperation
from pcf.models import IdempotentAnswer
from tags.models import Tag
from tests.conftest import Answer, Ask, World, token_for

CREATE = """mutation($title: String!, $tags: [String!]) {
  createNote(input: {title: $title, tagNames: $tags}) {
    note { id title version tags { name } } userErrors { code }
  }
}"""
KEY = '"8e03978e-40d5-43dd-bc93-6894a57f9324"'
Create = Callable[..., Answer]


@pytest.fixture
def create(ask: Ask, live_world: World) -> Create:
    """``create(key, title, token)`` makes a note of Ann's with two tags."""
    ann = token_for(live_world.ann)

    def send(key: str | None = KEY, title: str = "new", token: str | None = ann) -> Answer:
        headers = {} if key is None else {"Idempotency-Key": key}
        return ask(CREATE, token, {"title": title, "tags": ["red", "fresh"]}, **headers)

    return send


def notes(title: str = "new") -> int:
    return Note.objects.filter(title=title).count()


def test_a_repetition_gets_the_stored_answer(create: Create) -> None:
    first = create()
    (note,) = Note.objects.filter(title="new")
    assert first.data["createNote"]["note"] == {
        "id": str(note.pk), "title": "new", "version": note.version,
        "tags": [{"name": "red"}, {"name": "fresh"}],
    }  # fmt: skip
    Note.objects.filter(pk=note.pk).update(title="later")
    for key in (KEY, KEY.strip('"'), f" {KEY} "):
        again = create(key)
        assert (again.status, again.body) == (200, first.body)
        assert again.headers["Cache-Control"] == "no-store"
        assert again.cache_status == first.cache_status == "pcf; fwd=bypass"
    assert notes() == 0
    assert Note.objects.count() == 4


def test_without_a_key_and_with_another_key_it_is_written_again(create: Create) -> None:
    for key in (None, None, "a", "b"):
        create(key)
    assert notes() == 4
    assert IdempotentAnswer.objects.count() == 2


def test_a_key_belongs_to_its_viewer(create: Create, live_world: World) -> None:
    bob = token_for(live_world.bob)
    first, other = create(), create(token=bob)
    assert first.data != other.data
    assert create(token=bob).body == other.body
    assert create(token=token_for(live_world.ann)).body == first.body  # another token of the viewer
    assert notes() == 2


def test_the_key_of_an_anonymous_viewer_is_ignored(create: Create) -> None:
    for title in ("one", "two"):
        codes = create(token=None, title=title).data["createNote"]["userErrors"]
        assert codes == [{"code": "UNAUTHENTICATED"}]
    assert not IdempotentAnswer.objects.exists()


@pytest.mark.parametrize("media", ["application/json", "application/graphql-response+json"])
def test_a_key_of_another_request_is_refused(
    create: Create, ask: Ask, live_world: World, media: str
) -> None:
    create()
    token, headers = token_for(live_world.ann), {"Idempotency-Key": KEY, "Accept": media}
    variables = {"title": "new", "tags": ["red", "fresh"]}
    for query, given in (
        (CREATE, {**variables, "title": "other"}),
        (CREATE, {**variables, "unused": 1}),
        (CREATE + " ", variables),
    ):
        answer = ask(query, token, given, **headers)
        assert (answer.status, answer.codes) == (422, ["IDEMPOTENCY_KEY_REUSED"])
    assert ask(CREATE, token, dict(reversed(variables.items())), **headers).status == 200
    assert Note.objects.count() == 4


@pytest.mark.parametrize("key", ["", " ", '""', '"a', 'a"b', "a b", "ä".encode().decode("latin-1"),
                                 "x" * 256, '"a\\"b"'])  # fmt: skip
def test_text_that_is_no_key(create: Create, ask: Ask, key: str) -> None:
    answer = create(key)
    assert (answer.status, answer.codes) == (400, ["BAD_REQUEST"])
    assert notes() == 0
    assert ask("{ tags { name } }", **{"Idempotency-Key": key}).status == 200  # queries ignore it


def test_ten_clients_at_once_write_one_note(create: Create) -> None:
    def write(_number: int) -> list[Answer]:
        try:
            answers = [create()]
            while answers[-1].status == 409:
                answers.append(create())
            return answers
        finally:
            connections.close_all()

    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(write, range(10)))
    assert notes() == 1
    assert len({each[-1].body for each in answers}) == 1
    for refused in [answer for each in answers for answer in each[:-1]]:
        assert refused.codes == ["IDEMPOTENCY_KEY_IN_USE"]
        assert refused.headers["Retry-After"] == "1"


def test_a_key_is_in_use_until_the_transaction_ends(create: Create, monkeypatch: Any) -> None:
    refused = []
    save = Note.save

    def write_meanwhile(self: Note, **options: Any) -> None:
        save(self, **options)

        def again() -> None:
            try:
                refused.append(create())
            finally:
                connections.close_all()

        if not refused:
            with ThreadPoolExecutor(1) as threads:
                threads.submit(again).result()

    monkeypatch.setattr(Note, "save", write_meanwhile)
    first = create()
    (answer,) = refused
    assert (answer.status, answer.codes) == (409, ["IDEMPOTENCY_KEY_IN_USE"])
    assert create().body == first.body
    assert notes() == 1


def test_a_refusal_is_an_answer(create: Create) -> None:
    first = create(title=" ")
    assert first.data["createNote"]["userErrors"] == [{"code": "REQUIRED"}]
    assert create(title=" ").body == first.body
    assert IdempotentAnswer.objects.count() == 1
    assert create().status == 422


TWO = """mutation {
  a: createNote(input: {title: "one"}) { note { id } }
  b: createNote(input: {title: "two"}) { note { author { notes(first: %s) { title } } } }
}"""


def test_an_operation_with_an_error_writes_nothing_and_leaves_its_key(
    ask: Ask, live_world: World
) -> None:
    token = token_for(live_world.ann)
    answer = ask(TWO % 1_000, token, **{"Idempotency-Key": KEY})
    assert answer.codes == ["BAD_USER_INPUT"]
    assert answer.content["data"] is None
    assert answer.errors[0]["path"] == ["b", "note", "author", "notes"]
    assert notes("one") == notes("two") == IdempotentAnswer.objects.count() == 0
    answer = ask(TWO % 10, token, **{"Idempotency-Key": KEY})
    titles = [note["title"] for note in answer.data["b"]["note"]["author"]["notes"]]
    assert titles[-2:] == ["one", "two"]
    assert ask(TWO % 10, token, **{"Idempotency-Key": KEY}).body == answer.body
    assert notes("one") == notes("two") == 1


def test_an_error_of_the_database_between_two_mutations(
    ask: Ask, live_world: World, monkeypatch: Any
) -> None:
    """PostgreSQL ends the transaction with the first error, so no answer is stored."""
    token = token_for(live_world.ann)

    def fail(*_: Any) -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 / 0")

    with monkeypatch.context() as patched:
        patched.setattr(mutations, "_with_versions", fail)
        query = 'mutation { createNote(input: {title: "one", tagNames: ["red"]}) { note { id } } }'
        answer = ask(query, token, **{"Idempotency-Key": KEY})
        assert answer.codes == ["INTERNAL_SERVER_ERROR"]
    assert notes("one") == IdempotentAnswer.objects.count() == 0
    assert ask(query, token, **{"Idempotency-Key": KEY}).data["createNote"]["note"]
    assert notes("one") == 1


def test_a_constraint_that_is_checked_at_the_end_is_a_refusal(
    create: Create, live_world: World, monkeypatch: Any
) -> None:
    """The foreign keys are deferred, and the COMMIT comes after the answer is made."""
    monkeypatch.setattr(mutations, "chosen_tags", lambda *_: [Tag(pk=999_999_999)])
    for key in (None, KEY, KEY):
        answer = create(key)
        assert answer.data["createNote"] == {"note": None, "userErrors": [{"code": "INVALID"}]}
    assert notes() == 0


def test_a_transaction_that_lost_its_connection_is_repeated(
    create: Create, monkeypatch: Any
) -> None:
    """Nothing was committed, so the engine executes the operation again."""
    calls = []
    found = mutations.chosen_tags

    def terminate_once(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 1:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return found(*arguments)

    monkeypatch.setattr(mutations, "chosen_tags", terminate_once)
    first = create()
    assert first.data["createNote"]["note"]["title"] == "new"
    assert len(calls) == 2
    assert create().body == first.body
    assert notes() == 1


def test_an_answer_is_kept_for_a_day(create: Create) -> None:
    first = create()
    IdempotentAnswer.objects.update(created_at=timezone.now() - timedelta(hours=23))
    assert create().body == first.body
    IdempotentAnswer.objects.update(created_at=timezone.now() - timedelta(hours=25))
    second = create()
    assert second.body != first.body
    assert create().body == second.body
    assert notes() == 2


def test_the_command_deletes_old_answers(create: Create, settings: Any) -> None:
    for key in ("a", "b", "c"):
        create(key)
    IdempotentAnswer.objects.filter(pk__in=IdempotentAnswer.objects.all()[:2]).update(
        created_at=timezone.now() - timedelta(hours=25)
    )
    out = StringIO()
    call_command("purge_idempotency_keys", stdout=out)
    assert out.getvalue() == "2 answers are gone.\n"
    assert IdempotentAnswer.objects.count() == 1
    requests = replace(settings.PCF.requests, idempotency_ttl=1e-6)
    settings.PCF = replace(settings.PCF, requests=requests)
    call_command("purge_idempotency_keys", stdout=out)
    assert not IdempotentAnswer.objects.exists()


def test_the_table_holds_no_key(create: Create) -> None:
    create("my-secret-key")
    (row,) = IdempotentAnswer.objects.all()
    assert b"my-secret-key" not in bytes(row.digest) + bytes(row.request) + bytes(row.body)


def test_the_parts_of_a_batch_have_keys_of_their_own(live_world: World, settings: Any) -> None:
    requests = replace(settings.PCF.requests, max_batch=3)
    settings.PCF = replace(settings.PCF, requests=requests)
    part = {"query": 'mutation { createNote(input: {title: "new"}) { note { id } } }'}
    headers = {"Authorization": f"Bearer {token_for(live_world.ann)}", "Idempotency-Key": KEY}

    def send() -> Any:
        body = json.dumps([part, part])
        return Client().post("/graphql", body, content_type="application/json", headers=headers)

    first = send()
    assert first.content == send().content
    assert notes() == 2


def test_mutations_that_are_not_atomic_ignore_the_key(
    ask: Ask, live_world: World, monkeypatch: Any
) -> None:
    """Their answers set cookies and hold tokens."""
    monkeypatch.setattr(IdempotentOperation, "run", lambda *_: 1 / 0)
    token, headers = token_for(live_world.ann), {"Idempotency-Key": KEY}
    for query in (
        "mutation { logOutEverywhere { userErrors { code } } }",
        "mutation { ...M } fragment M on Mutation { logOutEverywhere { userErrors { code } } }",
        "mutation { ... { out: logOutEverywhere { userErrors { code } } } }",
    ):
        assert ask(query, token, **headers).codes != ["INTERNAL_SERVER_ERROR"]
    assert ask(CREATE, token, {"title": "x"}, **headers).codes == ["INTERNAL_SERVER_ERROR"]


def test_the_cost_is_a_part_of_the_answer(ask: Ask, live_world: World) -> None:
    token, headers = token_for(live_world.ann), {"Idempotency-Key": KEY}
    answers = [ask(CREATE, token, {"title": "new"}, {"cost": True}, **headers) for _ in range(2)]
    assert answers[0].body == answers[1].body
    assert "cost" in answers[0].content["extensions"]


def test_inside_of_another_transaction(create: Create) -> None:
    with transaction.atomic():
        first = create()
        assert create().body == first.body
    assert notes() == 1
