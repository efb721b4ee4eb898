"""What staff change of others' notes through the API is written down with the change."""

import pytest
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.urls import reverse

from tests.conftest import token_for
from users.models import User

CHANGES = {
    "updateNote": ('id: "{key}", title: "new", isPublic: true', "changed title, isPublic", CHANGE),
    "tagNote": ('noteId: "{key}", tagIds: []', "changed tags", CHANGE),
    "untagNote": ('noteId: "{key}", tagIds: []', "changed tags", CHANGE),
    "deleteNote": ('id: "{key}"', "deleted", DELETION),
}


def mutate(ask, name, key, token):
    values = CHANGES[name][0].format(key=key)
    answer = ask(f"mutation {{ {name}(input: {{{values}}}) {{ userErrors {{ code }} }} }}", token)
    return [error["code"] for error in answer.data[name]["userErrors"]]


@pytest.mark.parametrize("name", CHANGES)
def test_what_staff_change_of_others(world, ask, name, client):
    key = world.other.pk
    assert mutate(ask, name, key, token_for(world.staff)) == []

    entry = LogEntry.objects.get()
    assert (entry.user, entry.object_id) == (world.staff, str(key))
    assert (entry.action_flag, entry.change_message) == (
        CHANGES[name][2], f"Through the API: {CHANGES[name][1]}",
    )  # fmt: skip
    if name != "deleteNote":
        client.force_login(world.staff)
        page = client.get(reverse("admin:notes_note_history", args=[key])).content.decode()
        assert f"Through the API: {CHANGES[name][1]}" in page


@pytest.mark.parametrize("name", CHANGES)
def test_what_authors_change_of_their_own_and_what_is_refused_is_not(world, ask, name):
    assert mutate(ask, name, world.other.pk, token_for(world.ann)) == ["NOT_FOUND"]
    assert mutate(ask, name, world.other.pk, token_for(world.staff, "write")) == ["NOT_FOUND"]
    assert mutate(ask, name, world.other.pk, token_for(world.bob)) == []
    assert not LogEntry.objects.exists()


def test_the_record_goes_with_the_change_that_failed(world, ask, monkeypatch):
    from notes.models import Note

    monkeypatch.setattr(Note, "delete", lambda self: 1 / 0)
    query = f'mutation {{ deleteNote(input: {{id: "{world.other.pk}"}}) {{ deletedId }} }}'
    assert ask(query, token_for(world.staff)).codes == ["INTERNAL_SERVER_ERROR"]
    assert Note.objects.filter(pk=world.other.pk).exists()
    assert not LogEntry.objects.exists()


def test_commands_leave_a_line_in_the_log_without_the_text(db, caplog):
    from io import StringIO

    from django.core.management import call_command

    User.objects.create(username="ann", name="Ann")
    caplog.set_level("INFO", logger="pcf.audit")
    texts = []
    for command in (["create_token", "ann", "--name", "t"], ["rotate_token", "ann", "--name", "t"]):
        out = StringIO()
        call_command(*command, stdout=out, stderr=StringIO())
        texts.append(out.getvalue().strip())
    issued, rotated = (record.getMessage() for record in caplog.records)
    assert issued.startswith("token issued (token ")
    assert rotated.startswith("token rotated (token ")
    assert not [text for text in texts if text in caplog.text]
