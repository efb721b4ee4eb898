"""``manage.py rebuild_search``: every note gets a vector of the configuration in the settings."""

from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from notes.models import Note
from pcf.database.fields import define_configuration
from tests.conftest import Ask, World

WORDS = "The Häuser of the gardens"


@pytest.fixture(autouse=True)
def _english_again(transactional_db: None) -> Iterator[None]:
    yield
    with transaction.atomic(), connection.cursor() as cursor:
        define_configuration(cursor, "notes_search", "english")


def rebuild(*arguments: str) -> str:
    out = StringIO()
    call_command("rebuild_search", *arguments, stdout=out)
    return out.getvalue()


def words(note: Note) -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tsvector_to_array(search_vector) FROM notes_note WHERE id = %s", [note.pk]
        )
        (found,) = cursor.fetchone()
    return set(found)


def test_a_changed_setting_is_applied_to_all_notes(live_world: World, settings: Any) -> None:
    Note.objects.update(content=WORDS)
    assert words(live_world.other) >= {"hauser", "garden"}
    before = set(Note.objects.values_list("id", "updated_at"))
    settings.NOTES_SEARCH_CONFIG = "german"
    assert "3 notes" in rebuild("--batch-size=2")
    for note in Note.objects.all():
        assert words(note) >= {"haus", "the"}
    assert set(Note.objects.values_list("id", "updated_at")) == before
    Note.objects.filter(pk=live_world.public.pk).update(content="Die Wälder")
    assert "wald" in words(live_world.public)


def test_cached_responses_with_notes_are_removed(live_world: World, ask: Ask) -> None:
    query = "{ notes { title } }"
    ask(query)
    assert "hit" in ask(query).cache_status
    rebuild()
    assert "hit" not in ask(query).cache_status


def test_an_unknown_configuration_changes_nothing(live_world: World, settings: Any) -> None:
    before = words(live_world.public)
    settings.NOTES_SEARCH_CONFIG = "klingon"
    with pytest.raises(CommandError, match='"klingon" does not exist'):
        rebuild()
    assert words(live_world.public) == before
