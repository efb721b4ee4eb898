"""One answer shows one moment: writers beside readers tear no answer."""

from dataclasses import replace
from threading import Event, Thread

import pytest
from django.db import connections

from notes.models import Note
from pcf.project.schema import schema_with_diagnostics as schema
from tests.conftest import make_note, make_user
from users.loaders import UserById
from users.models import User
from users.schema import UserType

AUTHORS = "{ notes(first: 100) { id author { id name } } }"
NO_STORE = {"Cache-Control": "no-store"}


def in_other_session(function):
    """Run ``function`` in a thread, so on a connection of its own; return when it has committed."""

    def run():
        try:
            function()
        finally:
            connections.close_all()

    thread = Thread(target=run)
    thread.start()
    thread.join()


def before_first(monkeypatch, loader, action):
    """Run ``action`` in another session before ``loader`` loads for the first time."""
    load, done = loader.load_batch, []

    def load_batch(self, keys):
        if not done:
            done.append(keys)
            in_other_session(action)
        return load(self, keys)

    monkeypatch.setattr(loader, "load_batch", load_batch)
    return done


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_write_between_two_levels_is_not_seen(live_world, ask, monkeypatch, times):
    """The statements are new, are prepared, and are prepared already."""
    for _ in range(times - 1):
        ask(AUTHORS, **NO_STORE)
    done = before_first(monkeypatch, UserById, User.objects.all().delete)
    answer = ask(AUTHORS)
    assert done
    assert [note["author"]["name"] for note in answer.data["notes"]] == ["Ann"]
    assert "stored" not in answer.cache_status  # the fence refuses what the write has touched
    assert ask(AUTHORS).data == {"notes": []}


@pytest.mark.repeats
def test_a_statement_that_nobody_expected_repeats_the_query_once(live_world, ask, monkeypatch):
    """A resolver that reads the database after the last level does not mix two moments."""
    query = "{ notes { id author { name email } } }"
    for _ in range(3):  # the statements are prepared, so the last one ends the snapshot
        ask(query, **NO_STORE)
    resolve = UserType.resolve_email
    calls = []

    def resolve_email(user, info):
        with connections["default"].cursor() as cursor:
            cursor.execute("SELECT count(*) FROM users_user")
            calls.append(cursor.fetchone()[0])
        return resolve(user, info)

    resolve_email.columns = resolve.columns
    monkeypatch.setattr(
        schema.graphql_schema.type_map["User"].fields["email"], "resolve", resolve_email
    )
    done = before_first(monkeypatch, UserById, User.objects.all().delete)
    answer = ask(f"{query} # a plan of its own", **NO_STORE)
    assert done
    # the first run saw the note and its author, and then no user; the second run saw neither
    assert calls == [0]
    assert answer.data == {"notes": []}


@pytest.mark.repeats
def test_no_answer_is_torn_beside_a_writer(live_world, ask):
    """Users come with a note and go with it, while others read notes with their authors."""
    stopped = Event()
    written = []

    def write():
        try:
            while not stopped.is_set():
                user = make_user(f"guest{len(written)}")
                make_note(user, "of a guest")
                user.delete()
                written.append(user)
        finally:
            connections.close_all()

    writers = [Thread(target=write)]
    for writer in writers:
        writer.start()
    try:
        answers = [ask(AUTHORS, **NO_STORE) for _ in range(1_000)]
    finally:
        stopped.set()
        for writer in writers:
            writer.join()
    torn = [answer.content for answer in answers if "errors" in answer.content]
    assert not torn, f"{len(torn)} of {len(answers)}: {torn[0]}"
    assert len({len(answer.data["notes"]) for answer in answers}) == 2, "the writer was seen"
    assert len(written) > 10
    assert Note.objects.count()


def test_without_snapshots_a_query_that_lacks_a_neighbour_is_repeated_once(
    live_world, ask, monkeypatch, settings
):
    database = replace(settings.PCF.database, one_snapshot=False)
    settings.PCF = replace(settings.PCF, database=database)
    done = before_first(monkeypatch, UserById, User.objects.all().delete)
    answer = ask(AUTHORS, **NO_STORE)
    assert done
    assert answer.data == {"notes": []}
