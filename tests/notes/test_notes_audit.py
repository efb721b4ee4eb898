"""Changes that staff make to notes of others through the API are recorded."""

import pytest
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.urls import reverse

from pcf.observability.logs import without_secrets
from tests.conftest import token_for
from users import audit
from users.models import ApiToken, User

CHANGES = {
    "updateNote": ('id: "{key}", title: "new", isPublic: true', "changed title, isPublic", CHANGE),
    "tagNote": ('noteId: "{key}", tagIds: []', "changed tags", CHANGE),
    "untagNote": ('noteId: "{key}", tagIds: []', "changed tags", CHANGE),
    "deleteNote": ('id: "{key}"', "moved to the trash", DELETION),
}


def mutate(ask, name, key, token):
    values = CHANGES[name][0].format(key=key)
    answer = ask(f"mutation {{ {name}(input: {{{values}}}) {{ userErrors {{ code }} }} }}", token)
    return [error["code"] for error in answer.data[name]["userErrors"]]


@pytest.mark.parametrize("name", CHANGES)
def test_changes_of_staff_to_notes_of_others_are_recorded(world, ask, name, client):
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
def test_changes_of_authors_and_refused_changes_are_not_recorded(world, ask, name):
    assert mutate(ask, name, world.other.pk, token_for(world.ann)) == ["NOT_FOUND"]
    assert mutate(ask, name, world.other.pk, token_for(world.staff, "write")) == ["NOT_FOUND"]
    assert mutate(ask, name, world.other.pk, token_for(world.bob)) == []
    assert not LogEntry.objects.exists()


def test_a_failed_change_leaves_no_record(world, ask, monkeypatch):
    from notes.models import Note

    monkeypatch.setattr(Note, "save", lambda *_, **__: 1 / 0)
    query = f'mutation {{ deleteNote(input: {{id: "{world.other.pk}"}}) {{ deletedId }} }}'
    assert ask(query, token_for(world.staff)).codes == ["INTERNAL_SERVER_ERROR"]
    assert Note.objects.filter(pk=world.other.pk, deleted_at=None).exists()
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
    issued, rotated = caplog.messages
    old, new = ApiToken.objects.order_by("pk").values_list("pk", flat=True)
    user = f"user {User.objects.get().pk}"
    assert issued == f"issued a token (id {old}, {user}, scope write)"
    assert rotated == f"rotated a token (id {old}, successor {new}, {user}, hours 24)"
    assert not [text for text in texts if text in caplog.text]


def test_the_log_masks_no_part_of_a_line_of_a_command(caplog):
    caplog.set_level("INFO", logger="pcf.audit")
    audit.log("issued a token", id=123_456, user=7, scope="write")
    (line,) = caplog.messages
    assert without_secrets(line) == line == "issued a token (id 123456, user 7, scope write)"
