"""The queries of the project's schema, for each viewer."""

from dataclasses import replace

import pytest

from notes.models import Note
from tests.conftest import make_note, make_user, token_for


def test_the_whole_graph_in_one_query(world, ask):
    answer = ask("{ users { id name notes { title author { name } tags { name } } } }")
    assert answer.data["users"] == [
        {
            "id": str(world.ann.pk),
            "name": "Ann",
            "notes": [
                {
                    "title": "public of ann",
                    "author": {"name": "Ann"},
                    "tags": [{"name": "red"}],
                }
            ],
        },
        {"id": str(world.bob.pk), "name": "Bob", "notes": []},
        {"id": str(world.staff.pk), "name": "Sue", "notes": []},
    ]


def titles(answer):
    return [note["title"] for note in answer.data["notes"]]


def test_each_viewer_sees_its_notes(world, ask):
    query = "{ notes { title } }"
    assert titles(ask(query)) == ["public of ann"]
    assert titles(ask(query, token_for(world.ann))) == ["public of ann", "private of ann"]
    assert titles(ask(query, token_for(world.bob))) == ["public of ann", "private of bob"]
    assert len(titles(ask(query, token_for(world.staff)))) == 3


@pytest.mark.parametrize(
    "template",
    [
        "{{ note(id: {private}) {{ title }} }}",
        "{{ userNotes(userId: {ann}) {{ title }} }}",
        "{{ user(id: {ann}) {{ notes {{ title }} }} }}",
        "{{ users {{ notes {{ title }} }} }}",
        "{{ notes(authorId: {ann}) {{ title }} }}",
        '{{ notes(tag: "blue") {{ title }} }}',
        "{{ tag(id: {blue}) {{ notes {{ title }} }} }}",
        "{{ tags {{ notes {{ title }} }} }}",
        "{{ note(id: {public}) {{ author {{ notes {{ title }} }} }} }}",
        "{{ note(id: {public}) {{ tags {{ notes {{ title }} }} }} }}",
    ],
)
def test_no_edge_shows_a_private_note_to_a_stranger(world, ask, template):
    query = template.format(
        private=world.private.pk, public=world.public.pk, ann=world.ann.pk, blue=world.blue.pk
    )
    for token in (None, token_for(world.bob)):
        assert b"private of ann" not in ask(query, token).body


def test_filters_and_pages(world, ask):
    red = 'notes(tag: "red") { title }'
    assert titles(ask("{ " + red + " }", token_for(world.ann))) == [
        "public of ann",
        "private of ann",
    ]
    both = f'{{ notes(authorId: {world.ann.pk}, tag: "blue") {{ title }} }}'
    assert titles(ask(both, token_for(world.staff))) == ["private of ann"]
    assert titles(ask('{ notes(tag: "no such tag") { title } }')) == []
    assert titles(ask('{ notes(authorId: "x") { title } }')) == []

    page = f"{{ notes(first: 1, after: {world.public.pk}) {{ title }} }}"
    assert titles(ask(page, token_for(world.ann))) == ["private of ann"]


def test_nested_lists_are_limited_per_parent(world, ask):
    for number in range(3):
        make_note(world.ann, f"a{number}", world.red)
        make_note(world.bob, f"b{number}", world.red)
    answer = ask(
        "{ users(first: 2) { notes(first: 2) { title } } tags { notes(first: 3) { title } } }"
    )
    assert [[n["title"] for n in u["notes"]] for u in answer.data["users"]] == [
        ["public of ann", "a0"],
        ["b0", "b1"],
    ]
    assert [n["title"] for n in answer.data["tags"][0]["notes"]] == ["public of ann", "a0", "b0"]

    after = Note.objects.get(title="a0").pk
    query = f"{{ users(first: 2) {{ notes(first: 1, after: {after}) {{ title }} }} }}"
    assert [u["notes"][0]["title"] for u in ask(query).data["users"]] == ["a1", "b0"]


@pytest.mark.parametrize("field", ["users", "notes", "tags"])
@pytest.mark.parametrize("first", [0, -1, 101])
def test_pages_have_1_to_100_rows(world, ask, field, first):
    answer = ask(f"{{ {field}(first: {first}) {{ id }} }}")
    assert answer.codes == ["BAD_USER_INPUT"]
    assert "between 1 and 100" in answer.errors[0]["message"]
    assert ask(f"{{ {field}(first: 100) {{ id }} }}").data


def test_a_wrong_page_of_a_nested_list_is_an_error_at_its_place(world, ask):
    answer = ask(f"{{ user(id: {world.ann.pk}) {{ name notes(first: 101) {{ id }} }} }}")
    assert answer.errors[0]["path"] == ["user", "notes"]
    assert answer.codes == ["BAD_USER_INPUT"]


@pytest.mark.parametrize(
    "impossible", ['"x"', '"-1"', '"0"', '"99999999999999999999"', '"1e3"', "12345"]
)
def test_missing_objects_are_null(world, ask, impossible):
    fields = (f"{name}(id: {impossible}) {{ id }}" for name in ("user", "note", "tag"))
    answer = ask(f"{{ {' '.join(fields)} }}")
    assert answer.data == {"user": None, "note": None, "tag": None}


def test_the_user_and_staff_alone_see_an_email_address(world, ask):
    query = "{ users { email } }"

    def addresses(token):
        return [user["email"] for user in ask(query, token).data["users"]]

    assert addresses(None) == [None, None, None]
    assert addresses(token_for(world.ann)) == ["ann@example.org", None, None]
    assert None not in addresses(token_for(world.staff))


def test_me(world, ask):
    assert ask("{ me { name } }").data == {"me": None}
    assert ask("{ me { name } }", token_for(world.bob)).data == {"me": {"name": "Bob"}}


def test_two_viewers_in_turn_never_see_each_others_notes(live_world, ask):
    """The cache serves the second round."""
    ann, bob = token_for(live_world.ann), token_for(live_world.bob)
    query = "{ notes { title } }"
    seen = [(titles(ask(query, token)), ask(query, token).cache_status) for token in (ann, bob) * 3]
    assert {status for _, status in seen} == {"pcf; hit"}
    for number, (found, _) in enumerate(seen):
        assert found == ["public of ann", "private of " + ("ann", "bob")[number % 2]]


def test_unexpected_errors_are_masked(world, ask, monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("SELECT secret FROM internals")

    monkeypatch.setattr("users.schema.may_see_email", broken)
    answer = ask("{ users(first: 1) { name email } }")

    assert answer.codes == ["INTERNAL_SERVER_ERROR"]
    assert answer.errors[0]["message"] == "Internal server error"
    assert answer.content["data"] == {"users": [{"name": "Ann", "email": None}]}
    assert b"secret" not in answer.body
    assert answer.errors[0]["extensions"]["requestId"] == answer.headers["X-Request-ID"]
    assert "SELECT secret" in caplog.text


def test_a_slow_statement_ends_at_the_database_limit(live_world, ask, settings):
    limits = replace(settings.PCF.timeouts, database=0.2, min_database_budget=0.0)
    settings.PCF = replace(settings.PCF, timeouts=limits)
    answer = ask("{ slowQuery(delay: 30) me { id } }")

    assert answer.errors[0]["extensions"] == {"code": "TIMEOUT", "layer": "database", "limit": 0.2}
    assert answer.errors[0]["path"] == ["slowQuery"]
    assert answer.content["data"] == {"slowQuery": None, "me": None}
    assert ask("{ users { id } }").data  # the next request can use the connection


def test_a_client_may_ask_for_less_time(world, ask):
    assert ask("{ users { id } }", **{"X-Request-Timeout": "0.5"}).data["users"]
    answer = ask("{ slowQuery(delay: 30) }", **{"X-Request-Timeout": "1.3"})
    assert answer.errors[0]["extensions"] == {"code": "TIMEOUT", "layer": "client", "limit": 1.3}


@pytest.mark.parametrize("delay", [-1, 61])
def test_slow_query_has_bounds_and_a_switch(world, ask, settings, delay):
    assert ask(f"{{ slowQuery(delay: {delay}) }}").codes == ["BAD_USER_INPUT"]
    features = replace(settings.PCF.features, slow_query=False)
    settings.PCF = replace(settings.PCF, features=features)
    assert ask("{ slowQuery(delay: 0) }").codes == ["BAD_USER_INPUT"]


def test_many_users_many_notes(world, ask):
    for number in range(5):
        make_note(make_user(f"u{number}"), f"n{number}", world.red, world.blue)
    answer = ask("{ notes(first: 100) { title tags { name } author { name } } }")
    assert [tag["name"] for tag in answer.data["notes"][-1]["tags"]] == ["red", "blue"]
    assert answer.data["notes"][-1]["author"] == {"name": "u4"}


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ("{ users { notes { title } } }", None),
        # a condition without a value is executed without a plan
        (
            "query ($x: Boolean = true) { users { notes { title } } me { id @skip(if: $x) } }",
            {"x": None},
        ),
    ],
)
def test_the_lists_of_a_response_are_bounded_together(world, ask, settings, query, variables):
    """Three users and one public note."""

    def ask_with(limit):
        documents = replace(settings.PCF.documents, max_items=limit)
        settings.PCF = replace(settings.PCF, documents=documents)
        return ask(query, variables=variables)

    refused = ask_with(3)
    assert refused.content["data"] is None
    assert [error["extensions"] for error in refused.errors] == [
        {"code": "RESPONSE_TOO_LARGE", "limit": "items", "allowed": 3}
    ]
    assert ask_with(2).codes == ["RESPONSE_TOO_LARGE"]
    assert len(ask_with(4).data["users"]) == 3
