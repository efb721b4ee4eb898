"""Mutations: their writes and their errors."""

import pytest

from notes.models import Note
from tags.models import Tag
from tests.conftest import token_for
from users.models import User

ERRORS = "userErrors { field code message }"


NOTE = "note { id title content isPublic tags { name } }"


def mutate(ask, name, values, token=None, fields=NOTE):
    """``values`` is the input as GraphQL text."""
    answer = ask(f"mutation {{ {name}(input: {{{values}}}) {{ {fields} {ERRORS} }} }}", token)
    return answer.data[name]


def refusals(payload):
    return [(error["field"], error["code"]) for error in payload["userErrors"]]


def test_create(world, ask):
    tags = f'["{world.red.pk}", "{world.blue.pk}"]'
    values = f'title: "t", content: "c", isPublic: true, tagIds: {tags}'
    payload = mutate(ask, "createNote", values, token_for(world.ann))
    stored = Note.objects.latest("id")
    assert payload == {
        "note": {
            "id": str(stored.pk),
            "title": "t",
            "content": "c",
            "isPublic": True,
            "tags": [{"name": "red"}, {"name": "blue"}],
        },
        "userErrors": [],
    }
    assert stored.author == world.ann


def test_a_note_is_private_and_empty_by_default(world, ask):
    payload = mutate(ask, "createNote", 'title: "t"', token_for(world.ann))
    assert payload["note"] | {"id": ""} == {
        "id": "",
        "title": "t",
        "content": "",
        "isPublic": False,
        "tags": [],
    }


def test_update_changes_the_given_fields(world, ask):
    key = world.private.pk
    payload = mutate(ask, "updateNote", f'id: "{key}", title: "new"', token_for(world.ann))
    assert payload["note"]["title"] == "new"
    assert payload["note"]["content"] == "..."
    assert len(payload["note"]["tags"]) == 2

    values = f'id: "{key}", isPublic: true, tagIds: []'
    payload = mutate(ask, "updateNote", values, token_for(world.ann))
    assert payload["note"]["isPublic"] is True
    assert payload["note"]["tags"] == []
    assert Note.objects.get(pk=key).updated_at > world.private.updated_at


def test_delete(world, ask):
    key = world.public.pk
    payload = mutate(ask, "deleteNote", f'id: "{key}"', token_for(world.ann), "deletedId")
    assert payload == {"deletedId": str(key), "userErrors": []}
    assert Note.objects.get(pk=key).deleted_at is not None


def test_tag_and_untag(world, ask):
    key, blue, red = world.public.pk, world.blue.pk, world.red.pk
    token = token_for(world.ann)
    tagged = mutate(ask, "tagNote", f'noteId: "{key}", tagIds: ["{blue}", "{red}"]', token)
    assert [tag["name"] for tag in tagged["note"]["tags"]] == ["red", "blue"]
    untagged = mutate(ask, "untagNote", f'noteId: "{key}", tagIds: ["{red}"]', token)
    assert [tag["name"] for tag in untagged["note"]["tags"]] == ["blue"]


@pytest.mark.repeats
def test_serial_mutations_each_see_what_the_one_before_wrote(world, ask):
    key, blue = world.public.pk, world.blue.pk
    answer = ask(
        f"""mutation {{
            a: tagNote(input: {{noteId: "{key}", tagIds: ["{blue}"]}}) {{ ...N }}
            b: untagNote(input: {{noteId: "{key}", tagIds: ["{blue}"]}}) {{ ...N }}
            c: updateNote(input: {{id: "{key}", title: "c"}}) {{ note {{ title tags {{ name }} }} }}
        }}
        fragment N on NotePayload {{ note {{ tags {{ name }} }} }}""",
        token_for(world.ann),
    )
    assert answer.data == {
        "a": {"note": {"tags": [{"name": "red"}, {"name": "blue"}]}},
        "b": {"note": {"tags": [{"name": "red"}]}},
        "c": {"note": {"title": "c", "tags": [{"name": "red"}]}},
    }


def test_update_profile(world, ask):
    payload = mutate(
        ask, "updateProfile", 'name: "Anna"', token_for(world.ann), "user { name email }"
    )
    assert payload["user"] == {"name": "Anna", "email": "ann@example.org"}
    world.ann.refresh_from_db()
    assert (world.ann.name, world.ann.email) == ("Anna", "ann@example.org")


def note_mutations(key):
    return [
        ("updateNote", f'id: "{key}", title: "x"', "note { id }"),
        ("deleteNote", f'id: "{key}"', "deletedId"),
        ("tagNote", f'noteId: "{key}", tagIds: []', "note { id }"),
        ("untagNote", f'noteId: "{key}", tagIds: []', "note { id }"),
    ]


@pytest.mark.parametrize("number", range(4))
def test_who_may_write_a_note(world, ask, number):
    """Anonymous, without access, a reader, the author, staff."""

    def codes(note, token):
        name, values, fields = note_mutations(note.pk)[number]
        before = Note.objects.count()
        payload = mutate(ask, name, values, token, fields)
        if payload["userErrors"]:
            assert Note.objects.count() == before
        return [code for _, code in refusals(payload)]

    assert codes(world.public, None) == ["UNAUTHENTICATED"]
    assert codes(world.private, token_for(world.bob)) == ["NOT_FOUND"]
    assert codes(world.public, token_for(world.bob)) == ["FORBIDDEN"]
    assert codes(world.public, token_for(world.ann)) == []
    assert codes(world.other, token_for(world.staff)) == []


@pytest.mark.parametrize(("length", "codes"), [(100_000, []), (100_001, ["TOO_LONG"])])
def test_contents_may_be_long_and_come_in_a_variable(world, ask, length, codes):
    mutation = """
        mutation ($content: String!) {
            createNote(input: {title: "x", content: $content}) { userErrors { code } }
        }
    """
    answer = ask(mutation, token_for(world.ann), {"content": "é" * length})
    assert [error["code"] for error in answer.data["createNote"]["userErrors"]] == codes


@pytest.mark.parametrize("name", ["createNote", "updateProfile"])
def test_other_mutations_need_a_viewer(world, ask, name):
    values = 'title: "x"' if name == "createNote" else 'name: "x"'
    fields = "note { id }" if name == "createNote" else "user { id }"
    assert refusals(mutate(ask, name, values, None, fields)) == [(None, "UNAUTHENTICATED")]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ('title: ""', [("title", "REQUIRED")]),
        (f'title: "{"x" * 201}"', [("title", "TOO_LONG")]),
        ('title: "x", tagIds: ["999999999"]', [("tagIds", "NOT_FOUND")]),
        ('title: "x", tagIds: ["nope"]', [("tagIds", "NOT_FOUND")]),
    ],
)
def test_values_that_are_not_valid_write_nothing(world, ask, values, expected):
    before = Note.objects.count()
    payload = mutate(ask, "createNote", values, token_for(world.ann))
    assert refusals(payload) == expected
    assert payload["note"] is None
    assert Note.objects.count() == before


def test_a_refused_update_leaves_the_note_as_it_was(world, ask):
    values = f'id: "{world.public.pk}", title: "new", tagIds: ["nope"]'
    assert refusals(mutate(ask, "updateNote", values, token_for(world.ann))) == [
        ("tagIds", "NOT_FOUND")
    ]
    world.public.refresh_from_db()
    assert world.public.title == "public of ann"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ('name: ""', [("name", "REQUIRED")]),
        ('email: "nonsense"', [("email", "INVALID")]),
        (f'name: "{"x" * 151}"', [("name", "TOO_LONG")]),
    ],
)
def test_a_profile_that_is_not_valid_is_not_stored(world, ask, values, expected):
    payload = mutate(ask, "updateProfile", values, token_for(world.ann), "user { id }")
    assert refusals(payload) == expected
    assert User.objects.get(pk=world.ann.pk).name == "Ann"


def test_tags_in_one_input_are_bounded(world, ask):
    tags = Tag.objects.bulk_create([Tag(name=f"t{n}") for n in range(101)])
    for count, expected in ((101, [("tagIds", "TOO_LONG")]), (100, [])):
        ids = ", ".join(f'"{tag.pk}"' for tag in tags[:count])
        payload = mutate(ask, "createNote", f'title: "x", tagIds: [{ids}]', token_for(world.ann))
        assert refusals(payload) == expected
