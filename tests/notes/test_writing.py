"""What clients write: null and blank texts, tags by name, and batches."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from notes.models import Note, NoteTag
from tags.models import Tag
from tests.conftest import Ask, World, make_note, token_for
from tests.notes.test_tag_counts import check as check_counts

NOTE = "note { title content isPublic createdAt updatedAt version tags { name } }"
Mutate = Callable[..., Any]


@pytest.fixture
def mutate(ask: Ask) -> Mutate:
    """``mutate(name, token, fields, **input)`` returns the payload."""

    def send(name: str, token: str | None, fields: str = NOTE, /, **values: Any) -> Any:
        type_name = {"tagNote": "NoteTags", "untagNote": "NoteTags"}.get(
            name, name[0].upper() + name[1:]
        )
        query = (
            f"mutation($input: {type_name}Input!) {{ {name}(input: $input) "
            f"{{ {fields} userErrors {{ field code message }} }} }}"
        )
        return ask(query, token, {"input": values}).data[name]

    return send


def refusals(payload: Any) -> list[tuple[str | None, str]]:
    return [(error["field"], error["code"]) for error in payload["userErrors"]]


def names(payload: Any) -> list[str]:
    return [tag["name"] for tag in payload["note"]["tags"]]


# -- null and blank texts

BLANK = [" ", "\t\n", "\u00a0\u3000"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"isPublic": None}, [("isPublic", "REQUIRED")]),
        ({"content": None, "tagIds": None, "tagNames": None}, []),
        *(({"title": blank}, [("title", "REQUIRED")]) for blank in BLANK),
        ({"title": " ", "isPublic": None}, [("title", "REQUIRED"), ("isPublic", "REQUIRED")]),
        (
            {"title": " ", "content": "x" * 100_001},
            [("title", "REQUIRED"), ("content", "TOO_LONG")],
        ),
    ],
)
def test_null_in_a_new_note(
    world: World, mutate: Mutate, values: Any, expected: list[tuple[str, str]]
) -> None:
    before = Note.objects.count()
    payload = mutate("createNote", token_for(world.ann), **{"title": "t", **values})
    assert refusals(payload) == expected
    if expected:
        assert payload["note"] is None
        assert Note.objects.count() == before
    else:
        assert payload["note"]["content"] == ""
        assert payload["note"]["createdAt"] == payload["note"]["updatedAt"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"title": None}, [("title", "REQUIRED")]),
        ({"isPublic": None}, [("isPublic", "REQUIRED")]),
        *(({"title": blank}, [("title", "REQUIRED")]) for blank in BLANK),
    ],
)
def test_null_does_not_clear_what_must_have_a_value(
    world: World, mutate: Mutate, values: Any, expected: list[tuple[str, str]]
) -> None:
    rows = list(Note.objects.values())
    given = {"content": "new", **values}
    payload = mutate("updateNote", token_for(world.ann), id=str(world.public.pk), **given)
    assert refusals(payload) == expected
    assert list(Note.objects.values()) == rows


def test_null_clears_what_may_be_empty(world: World, mutate: Mutate) -> None:
    token, key = token_for(world.ann), str(world.private.pk)
    payload = mutate("updateNote", token, id=key, content=None)
    assert (payload["note"]["content"], names(payload)) == ("", ["red", "blue"])
    for field in ("tagIds", "tagNames"):
        world.private.tags.set([world.red])
        assert names(mutate("updateNote", token, id=key, **{field: None})) == []


def test_null_in_a_profile(world: World, mutate: Mutate) -> None:
    token, fields = token_for(world.ann), "user { name email }"
    for name in (None, "", " "):
        payload = mutate("updateProfile", token, fields, name=name)
        assert refusals(payload) == [("name", "REQUIRED")]
    payload = mutate("updateProfile", token, fields, email=None)
    assert payload["user"] == {"name": "Ann", "email": ""}


def test_white_space_around_a_title_and_in_a_text_stays(world: World, mutate: Mutate) -> None:
    content = "    code\n\ttab\nend  \n"
    payload = mutate("createNote", token_for(world.ann), title=" a\nb ", content=content)
    assert (payload["note"]["title"], payload["note"]["content"]) == (" a\nb ", content)


# -- tags by name


def test_tags_are_found_by_name_without_regard_to_case_and_made_when_missing(
    live_world: World, mutate: Mutate
) -> None:
    token = token_for(live_world.ann)
    given = ["RED", " new ", "NEW", "Cafe\u0301"]
    payload = mutate(
        "createNote", token, title="t", tagIds=[str(live_world.blue.pk)], tagNames=given
    )
    assert names(payload) == ["red", "blue", "new", "Café"]
    assert Tag.objects.count() == 4
    payload = mutate("tagNote", token, noteId=str(live_world.public.pk), tagNames=["CAFÉ", "Blue"])
    assert names(payload) == ["red", "blue", "Café"]
    key = str(live_world.public.pk)
    payload = mutate("updateNote", token, id=key, tagNames=["new"], tagIds=[str(live_world.red.pk)])
    assert names(payload) == ["red", "new"]
    assert names(mutate("updateNote", token, id=key, tagNames=["new"])) == ["new"]
    assert names(mutate("updateNote", token, id=key, title="x")) == ["new"]
    payload = mutate("untagNote", token, noteId=key, tagNames=["NEW", "never seen"])
    assert (names(payload), payload["userErrors"]) == ([], [])
    assert Tag.objects.count() == 4
    check_counts()


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("", "REQUIRED"), (" \u2003", "REQUIRED"), ("x" * 51, "TOO_LONG"), ("a\nb", "INVALID"),
        ("a\0b", "INVALID"), ("\u202egnp.exe", "INVALID"), ("a\u2066b", "INVALID"),
    ],
)  # fmt: skip
def test_a_wrong_name_of_a_tag_writes_nothing(
    world: World, mutate: Mutate, name: str, code: str
) -> None:
    before = Note.objects.count()
    payload = mutate("createNote", token_for(world.ann), title="t", tagNames=["good", name])
    assert refusals(payload) == [("tagNames", code)]
    assert (Note.objects.count(), Tag.objects.count()) == (before, 2)


def test_tags_of_one_input_are_bounded_together(world: World, mutate: Mutate) -> None:
    token, ids = token_for(world.ann), [str(world.red.pk)]
    for count, expected in ((99, []), (100, [("tagNames", "TOO_LONG")])):
        given = [f"tag {number}" for number in range(count)]
        payload = mutate("createNote", token, title="t", tagIds=ids, tagNames=given)
        assert refusals(payload) == expected
    assert refusals(mutate("createNote", token, title="t", tagIds=ids * 101)) == [
        ("tagIds", "TOO_LONG")
    ]


def test_clients_at_once_make_a_tag_once(live_world: World, mutate: Mutate) -> None:
    token = token_for(live_world.ann)

    def write(number: int) -> Any:
        try:
            name = "Shared" if number % 2 else "SHARED"
            return mutate(
                "createNote", token, title=f"t {number}", tagNames=[name, f"own {number}"]
            )
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as threads:
        payloads = list(threads.map(write, range(16)))
    assert {len(names(payload)) for payload in payloads} == {2}
    assert Tag.objects.count() == 2 + 16 + 1
    check_counts()


# -- batches


def test_a_batch_takes_the_same_statements_for_any_number_of_notes(
    world: World, ask: Ask, mutate: Mutate
) -> None:
    token = token_for(world.ann)
    keys = [str(make_note(world.ann, f"note {number}").pk) for number in range(60)]

    def statements(name: str, fields: str, **values: Any) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert mutate(name, token, fields, **values)["userErrors"] == []
        return len(queries)

    ask("{ me { id } }", token)  # the service caches the token from here on
    tags = {"tagNames": ["red", "blue"]}
    fields = "notes { title tags { name } }"
    one = statements("tagNotes", fields, ids=keys[:1], **tags)
    assert statements("tagNotes", fields, ids=keys, **tags) == one <= 10
    one = statements("deleteNotes", "deletedIds", ids=keys[:1])
    assert statements("deleteNotes", "deletedIds", ids=keys[1:]) == one <= 4
    assert Note.objects.filter(deleted_at=None).count() == 3


def test_notes_are_tagged_together(live_world: World, mutate: Mutate) -> None:
    token = token_for(live_world.ann)
    keys = [str(live_world.private.pk), str(live_world.public.pk), str(live_world.private.pk)]
    payload = mutate(
        "tagNotes", token, "notes { id version tags { name } }", ids=keys, tagNames=["new", "red"]
    )
    versions = dict(Note.objects.values_list("pk", "version"))
    assert payload["notes"] == [
        {
            "id": str(note.pk),
            "version": versions[note.pk],
            "tags": [{"name": name} for name in (*before, "new")],
        }
        for note, before in ((live_world.public, ["red"]), (live_world.private, ["red", "blue"]))
    ]
    check_counts()


def test_notes_are_deleted_together(live_world: World, mutate: Mutate) -> None:
    keys = [str(live_world.public.pk), str(live_world.private.pk)]
    payload = mutate("deleteNotes", token_for(live_world.ann), "deletedIds", ids=keys)
    assert payload == {"deletedIds": keys, "userErrors": []}
    assert Note.objects.get(deleted_at=None) == live_world.other
    check_counts()


@pytest.mark.parametrize("name", ["deleteNotes", "tagNotes"])
def test_one_refused_note_refuses_the_batch(world: World, mutate: Mutate, name: str) -> None:
    given = {"tagNames": ["new"]} if name == "tagNotes" else {}
    fields = "notes { id }" if name == "tagNotes" else "deletedIds"
    public = make_note(world.bob, "public of bob")
    rows = list(Note.objects.values()), list(NoteTag.objects.values()), list(Tag.objects.values())
    keys = [str(world.public.pk), str(world.other.pk), "nope", str(public.pk), "999999999"]
    payload = mutate(name, token_for(world.ann), fields, ids=keys, **given)
    assert refusals(payload) == [
        ("ids", "NOT_FOUND"), ("ids", "NOT_FOUND"), ("ids", "FORBIDDEN"), ("ids", "NOT_FOUND"),
    ]  # fmt: skip
    assert "item 4 of 'ids'" in json.dumps(payload["userErrors"][2])
    assert payload[fields.split(maxsplit=1)[0]] is None
    assert refusals(mutate(name, None, fields, ids=keys, **given)) == [(None, "UNAUTHENTICATED")]
    many = [str(world.public.pk)] * 101
    payload = mutate(name, token_for(world.ann), fields, ids=many, **given)
    assert refusals(payload) == [("ids", "TOO_LONG")]
    stored = list(Note.objects.values()), list(NoteTag.objects.values()), list(Tag.objects.values())
    assert stored == rows


def test_batches_of_staff_are_recorded(world: World, mutate: Mutate) -> None:
    keys = [str(world.public.pk), str(world.other.pk)]
    mutate("tagNotes", token_for(world.staff), "notes { id }", ids=keys, tagNames=["new"])
    mutate("deleteNotes", token_for(world.staff), "deletedIds", ids=keys)
    texts = LogEntry.objects.order_by("pk").values_list("object_id", "change_message")
    assert list(texts) == [
        (key, f"Through the API: {what}")
        for what in ("changed tags", "moved to the trash")
        for key in keys
    ]


# -- tags themselves

TAG = "tag { id name noteCount }"


def test_a_tag_is_made_once(live_world: World, mutate: Mutate) -> None:
    token = token_for(live_world.bob)
    payload = mutate("createTag", token, TAG, name=" New\u2003")
    made = Tag.objects.get(name="New")
    assert payload["tag"] == {"id": str(made.pk), "name": "New", "noteCount": 0}
    for name, other in (("NEW", made), ("Red", live_world.red)):
        payload = mutate("createTag", token, TAG, name=name)
        assert refusals(payload) == [("name", "TAKEN")]
        assert payload["tag"]["id"] == str(other.pk)
    for name, code in (("", "REQUIRED"), ("x" * 51, "TOO_LONG"), ("\u200fx", "INVALID")):
        assert refusals(mutate("createTag", token, TAG, name=name)) == [("name", code)]
    assert Tag.objects.count() == 3


def test_staff_rename_a_tag(live_world: World, mutate: Mutate) -> None:
    token, key = token_for(live_world.staff), str(live_world.red.pk)
    assert mutate("renameTag", token, TAG, id=key, name="RED ")["tag"]["name"] == "RED"
    assert mutate("renameTag", token, TAG, id=key, name="crimson")["tag"]["name"] == "crimson"
    payload = mutate("renameTag", token, TAG, id=key, name="Blue")
    assert (refusals(payload), payload["tag"]["id"]) == (
        [("name", "TAKEN")], str(live_world.blue.pk),
    )  # fmt: skip
    assert Tag.objects.get(pk=key).name == "crimson"
    messages = LogEntry.objects.order_by("pk").values_list("change_message", flat=True)
    assert list(messages) == [f"Through the API: renamed from {name}" for name in ("red", "RED")]


def test_staff_merge_tags(live_world: World, mutate: Mutate) -> None:
    green = Tag.objects.create(name="green")
    live_world.other.tags.add(green)
    versions = dict(Note.objects.values_list("pk", "version"))
    keys = [str(live_world.red.pk), str(green.pk), str(live_world.blue.pk)]
    payload = mutate(
        "mergeTags", token_for(live_world.staff), TAG, ids=keys, intoId=str(live_world.blue.pk)
    )
    assert payload["tag"] == {"id": str(live_world.blue.pk), "name": "blue", "noteCount": 3}
    assert Tag.objects.get() == live_world.blue
    assert NoteTag.objects.count() == 3
    for key, version in Note.objects.values_list("pk", "version"):
        assert version == versions[key] + 1
    check_counts()


def test_staff_delete_a_tag(live_world: World, mutate: Mutate) -> None:
    key = str(live_world.red.pk)
    payload = mutate("deleteTag", token_for(live_world.staff), "deletedId", id=key)
    assert payload == {"deletedId": key, "userErrors": []}
    assert Tag.objects.get() == live_world.blue
    assert LogEntry.objects.get().change_message == "Through the API: deleted"
    check_counts()


def test_others_edit_no_tag(world: World, mutate: Mutate) -> None:
    key = str(world.red.pk)
    for name, fields, values in (
        ("renameTag", TAG, {"id": key, "name": "x"}),
        ("mergeTags", TAG, {"ids": [key], "intoId": str(world.blue.pk)}),
        ("deleteTag", "deletedId", {"id": key}),
    ):
        for token, code in (
            (None, "UNAUTHENTICATED"),
            (token_for(world.ann), "FORBIDDEN"),
            (token_for(world.staff, "write"), "FORBIDDEN"),
        ):
            assert refusals(mutate(name, token, fields, **values)) == [(None, code)]
    assert set(Tag.objects.values_list("name", flat=True)) == {"red", "blue"}


def test_a_tag_that_does_not_exist(world: World, mutate: Mutate) -> None:
    token = token_for(world.staff)
    payload = mutate("mergeTags", token, TAG, ids=["999"], intoId=str(world.red.pk))
    assert refusals(payload) == [("ids", "NOT_FOUND")]
    payload = mutate("mergeTags", token, TAG, ids=[str(world.red.pk)], intoId="nope")
    assert refusals(payload) == [("intoId", "NOT_FOUND")]
    payload = mutate("mergeTags", token, TAG, ids=[str(world.red.pk)] * 101, intoId="1")
    assert refusals(payload) == [("ids", "TOO_LONG")]
