"""Tags with many notes: the deletion and the merging in bounded steps."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test.utils import CaptureQueriesContext

from notes import tag_removal
from notes.models import Note, NoteTag
from pcf.database import deletion
from pcf.execution.mutations import MutationRefused
from tags.models import Tag
from tests.conftest import Ask, World, make_note, token_for
from tests.notes.test_tag_counts import check as check_counts

TAG = "tag { id }"
STATEMENTS = {"SELECT", "INSERT", "DELETE", "UPDATE", "WITH"}
Mutate = Callable[..., Any]


@pytest.fixture
def mutate(live_world: World, ask: Ask) -> Mutate:
    """``mutate(name, fields, **input)`` returns the payload, for a member of staff."""

    def send(name: str, fields: str, /, **values: Any) -> Any:
        query = (
            f"mutation($input: {name[0].upper()}{name[1:]}Input!) {{ {name}(input: $input) "
            f"{{ {fields} userErrors {{ field code message }} }} }}"
        )
        return ask(query, token_for(live_world.staff), {"input": values}).data[name]

    return send


@pytest.fixture
def big_tag(live_world: World) -> Tag:
    """A tag on 25 notes; Bob's note has the blue one as well."""
    big = Tag.objects.create(name="big")
    for number in range(24):
        make_note(live_world.ann, f"note {number}", big)
    live_world.other.tags.add(big)
    return big


@pytest.fixture
def steps_of_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step changes 10 rows, and a request has time for one step."""
    monkeypatch.setattr(deletion, "DEPENDENT_ROWS", 0)
    for function in (deletion.delete_in_steps, tag_removal.merge_in_steps):
        monkeypatch.setitem(function.__kwdefaults__, "size", 10)
    monkeypatch.setattr(deletion, "RESERVE", 1_000.0)


def codes(payload: Any) -> list[tuple[str | None, str]]:
    return [(error["field"], error["code"]) for error in payload["userErrors"]]


def repeated(mutate: Mutate, name: str, fields: str, **values: Any) -> list[int]:
    """Send a mutation until it has finished; return how many notes were left each time."""
    left = []
    for _ in range(10):
        payload = mutate(name, fields, **values)
        check_counts()
        if not payload["userErrors"]:
            return left
        assert codes(payload) == [(None, "UNFINISHED")]
        assert payload.get("tag") is payload.get("deletedId") is None
        left += map(int, re.findall(r"\d+", payload["userErrors"][0]["message"]))
    raise AssertionError("the mutation never ends")


@pytest.mark.usefixtures("steps_of_ten")
def test_a_tag_of_many_notes_is_deleted_in_steps(
    live_world: World, big_tag: Tag, mutate: Mutate
) -> None:
    versions = dict(Note.objects.values_list("pk", "version"))
    key = str(big_tag.pk)
    assert repeated(mutate, "deleteTag", "deletedId", id=key) == [15, 5, 0]
    assert not Tag.objects.filter(pk=big_tag.pk).exists()
    assert set(live_world.other.tags.all()) == {live_world.blue}
    grown = Note.objects.exclude(pk__in=[live_world.public.pk, live_world.private.pk])
    assert all(note.version == versions[note.pk] + 1 for note in grown)
    assert LogEntry.objects.get().change_message == "Through the API: deleted"


@pytest.mark.usefixtures("steps_of_ten")
def test_tags_of_many_notes_are_merged_in_steps(
    live_world: World, big_tag: Tag, mutate: Mutate
) -> None:
    blue = live_world.blue
    values = {"ids": [str(big_tag.pk)], "intoId": str(blue.pk)}
    assert repeated(mutate, "mergeTags", TAG, **values) == [15, 5]
    assert not Tag.objects.filter(pk=big_tag.pk).exists()
    assert NoteTag.objects.filter(tag=blue).count() == 24 + 2
    assert LogEntry.objects.get().change_message == "Through the API: merged with big"


@pytest.mark.parametrize("notes", [25, 60])
def test_each_step_of_a_merge_has_the_same_statements(
    live_world: World, big_tag: Tag, notes: int
) -> None:
    for number in range(notes - 25):
        make_note(live_world.ann, f"more {number}", big_tag)
    steps = tag_removal.merge_in_steps([big_tag.pk], live_world.blue.pk, lambda: None, size=10)
    counts = []
    while True:
        with CaptureQueriesContext(connection) as queries:
            if next(steps, None) is None:
                break
        counts.append(len([each for each in queries if each["sql"].split()[0] in STATEMENTS]))
    assert counts[:-1] == [4] * (notes // 10)
    assert counts[-1] <= 7  # the last step deletes the tag, too
    assert NoteTag.objects.filter(tag=live_world.blue).count() == notes + 1


def test_a_merge_into_a_tag_that_is_deleted_meanwhile(
    live_world: World, big_tag: Tag, steps_of_ten: None, mutate: Mutate
) -> None:
    values = {"ids": [str(big_tag.pk)], "intoId": str(live_world.red.pk)}
    steps = tag_removal.merge_in_steps([big_tag.pk], live_world.red.pk, lambda: None)
    next(steps)
    live_world.red.delete()
    with pytest.raises(MutationRefused):
        next(steps)
    assert big_tag.notes.count() == 15
    payload = mutate("mergeTags", TAG, **values)
    assert codes(payload) == [("intoId", "NOT_FOUND")]


def test_steps_of_one_request_are_no_n_plus_one(
    big_tag: Tag, mutate: Mutate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fixture ``repetitions`` fails a test whose request repeats a statement."""
    monkeypatch.setattr(deletion, "DEPENDENT_ROWS", 0)
    monkeypatch.setitem(deletion.delete_in_steps.__kwdefaults__, "size", 5)
    assert mutate("deleteTag", "deletedId", id=str(big_tag.pk))["deletedId"] == str(big_tag.pk)
