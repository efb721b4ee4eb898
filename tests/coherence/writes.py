"""Random writes of every kind: by Django, by GraphQL, and by SQL past both."""

import os
import random
import re
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from io import StringIO
from typing import Any

import psycopg
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models import CharField, F, Model, Value
from django.db.models.functions import Cast, Concat
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone

from notes.models import Note, NoteTag
from tags.models import Tag
from tests.coherence.client import Client
from tests.coherence.mutations import Mutations, Unavailable
from tests.coherence.world import (
    World,
    begin_session,
    content,
    next_version,
    next_version_of_another,
)
from users import sessions
from users.models import ApiToken, User

__all__ = ("Unavailable", "Writes")

KEPT = 60  # notes; the run deletes what is more
_NO_WRITES = {"one", "forget_connections"}  # public methods
LOADED = 5  # users that seed_load made; the run deletes what is more


class Writes(Mutations):
    """Runs random writes, one at a time: the caller holds the exclusive lock."""

    def __init__(self, world: World, client: Client, rng: random.Random) -> None:
        super().__init__(world, client, rng)
        self._psql: Any = None
        self._browser: Browser | None = None

    def one(self) -> str:
        """Run one write; return its kind."""
        kinds: list[Callable[[], None]] = [
            value
            for name in dir(type(self))
            if not name.startswith("_")
            and name not in _NO_WRITES
            and (value := getattr(self, name))
        ]
        kind = self._rng.choice(kinds)
        kind()
        if Note.objects.count() > KEPT:
            Note.objects.filter(pk__in=Note.objects.order_by("?").values("pk")[:10]).delete()
        return kind.__name__

    def forget_connections(self) -> None:
        """Open connections anew after a failure."""
        self._psql = None

    # --- notes

    def save(self) -> None:
        with transaction.atomic():
            note = self._note(lock=True)
            note.title = f"s #{next_version()}"
            note.save()

    def save_in_autocommit(self) -> None:
        note = self._note()
        note.title = f"a #{next_version()}"
        note.save(update_fields=["title"])

    def reword(self) -> None:
        """Change what a search finds."""
        note = self._note()
        words = self._rng.choice(["", " alpha", " beta", " alpha beta"])
        note.content = content(note.author_id, note.is_public) + words
        note.title = f"w #{next_version()}"
        note.save()

    def backdate(self) -> None:
        """Change the times of a note, and nothing else."""
        moment = timezone.now() - timedelta(days=self._rng.randint(0, 365))
        field = self._rng.choice(["created_at", "updated_at"])
        Note.objects.filter(pk=self._note().pk).update(**{field: moment})

    def move(self) -> None:
        note = self._note()
        note.author_id = self._user()
        note.content = content(note.author_id, note.is_public)
        note.title = f"m #{next_version()}"
        note.save()

    def trash_by_update(self) -> None:
        """Move notes to the trash and back, past the API."""
        notes = Note.objects.filter(pk=self._note().pk)
        notes.update(deleted_at=timezone.now() if self._rng.random() < 0.5 else None)

    def purge_trash(self) -> None:
        if Note.objects.filter(deleted_at=None).count() > 12:
            call_command("purge_trash", "--days=0", stdout=StringIO())

    def toggle(self) -> None:
        note = self._note()
        note.is_public = not note.is_public
        note.content = content(note.author_id, note.is_public)
        note.save()

    def toggle_by_update(self) -> None:
        notes = Note.objects.filter(pk=self._note().pk)
        if self._rng.random() < 0.5:
            notes.update(is_public=True, content="public.")
        else:
            author = Cast(F("author_id"), CharField())
            text = Concat(Value("private-of-"), author, Value("."))
            notes.update(is_public=False, content=text)

    def create(self) -> None:
        self._created(self._new_note())

    def bulk_create(self) -> None:
        made = Note.objects.bulk_create([self._new_note() for _ in range(3)])
        self._created(made[-1])

    def bulk_update(self) -> None:
        notes = list(Note.objects.order_by("?")[:4])
        for note in notes:
            note.title = f"b #{next_version()}"
        Note.objects.bulk_update(notes, ["title"])

    def update(self) -> None:
        author = self._user()
        Note.objects.filter(author_id=author).update(title=f"u #{next_version()}")

    def delete(self) -> None:
        self._note().delete()
        self.create()

    def delete_query_set(self) -> None:
        Note.objects.filter(author_id=self._user(), pk__gt=12).delete()
        self.bulk_create()

    def move_through_related_manager(self) -> None:
        note = self._note()
        public = Note.objects.filter(pk=note.pk)
        public.update(is_public=True, content="public.")
        User.objects.get(pk=self._user()).notes.add(note)

    def rolled_back(self) -> None:
        with transaction.atomic():
            self._note().delete()
            Tag.objects.update(name=Concat(F("name"), Value("?")))
            transaction.set_rollback(True)

    def savepoint(self) -> None:
        with transaction.atomic():
            note = self._note(lock=True)
            note.title = f"p #{next_version()}"
            note.save()
            with transaction.atomic():
                self._note().delete()
                transaction.set_rollback(True)

    # --- tags

    def tag_add(self) -> None:
        self._note().tags.add(*self._tags())

    def tag_remove(self) -> None:
        self._note().tags.remove(*self._tags())

    def tag_set(self) -> None:
        self._note().tags.set(self._tags())

    def tag_clear(self) -> None:
        self._note().tags.clear()

    def tag_from_the_other_side(self) -> None:
        self._tags()[0].notes.add(self._note())

    def link_raw_delete(self) -> None:
        links = NoteTag.objects.filter(note=self._note())
        links._raw_delete(links.db)

    def tag_rename(self) -> None:
        tag = self._tags()[0]
        tag.name = self._name()
        tag.save()

    def tag_update_or_create(self) -> None:
        Tag.objects.update_or_create(name=self._tags()[0].name, defaults={"name": self._name()})

    def tag_delete_and_create(self) -> None:
        if Tag.objects.count() > 6:
            Tag.objects.order_by("?")[0].delete()
        self._world.newest_tag = Tag.objects.create(name=self._name()).pk

    # --- users and tokens

    def rename_user(self) -> None:
        User.objects.filter(pk=self._user()).update(name=f"User {next_version()}")

    def save_user(self) -> None:
        user = User.objects.get(pk=self._user())
        user.email = f"{next_version()}@example.org"
        user.save()

    def toggle_staff(self) -> None:
        user = User.objects.get(pk=self._world.users[1])
        user.is_staff = not user.is_staff
        user.save(update_fields=["is_staff"])

    def toggle_active(self) -> None:
        user = User.objects.get(pk=self._world.users[2])
        user.is_active = not user.is_active
        user.save()

    def toggle_token(self) -> None:
        tokens = ApiToken.objects.filter(user_id=self._world.users[3], session=None)
        revoked = None if tokens.get().revoked_at else timezone.now()
        tokens.update(revoked_at=revoked)

    def end_session(self) -> None:
        """End the sessions of a user with a cookie; the browser begins another one.

        After a fault between the two, the cookie is one of a session that may have ended.
        """
        places = [at for at, viewer in enumerate(self._world.viewers) if viewer.has_cookie]
        at = self._rng.choice(places)
        old = self._world.viewers[at]
        self._world.ended.append(old)
        with transaction.atomic():
            sessions.end_all(old.user)
        user = User.objects.get(pk=old.user)
        self._world.viewers[at] = begin_session(user, ever_staff=old.ever_staff)

    def log_in(self) -> None:
        User.objects.filter(pk=self._user()).update(last_login=timezone.now())

    def create_user(self) -> None:
        """Create a user with a note that has tags."""
        number = next_version()
        user = User.objects.create(username=f"p{number}", name=f"Passing {number}")
        note = Note(author=user, title=f"o #{number}", content="public.", is_public=True)
        note.save()
        note.tags.set(self._tags())
        self._world.newest_user = user.pk

    def delete_user(self) -> None:
        """Delete a user with all its rows."""
        self._passing_user().delete()

    def delete_user_by_query_set(self) -> None:
        User.objects.filter(pk=self._passing_user().pk).delete()

    # --- the admin

    def admin_save(self) -> None:
        """Save the form of a note, which has its tags among its fields."""
        note, tags = self._note(alive=True), self._tags()  # the admin has no form for the trash
        form = {
            "title": f"d #{next_version()}", "content": note.content, "author": note.author_id,
            "is_public": "on" if note.is_public else "",
            "tag_names": [tag.pk for tag in tags],
        }  # fmt: skip
        self._post(reverse("admin:notes_note_change", args=[note.pk]), form, note, *tags)

    def admin_tag(self) -> None:
        tag = self._tags()[0]
        form = {"name": self._name()}
        self._post(reverse("admin:tags_tag_change", args=[tag.pk]), form, tag)

    def admin_delete_action(self) -> None:
        chosen = {"_selected_action": [self._note().pk], "post": "yes"}
        self._post(reverse("admin:notes_note_changelist"), {"action": "delete_selected", **chosen})
        self.create()

    def admin_revoke_action(self) -> None:
        token = ApiToken.objects.get(user_id=self._world.users[4], session=None)
        if token.revoked_at:
            ApiToken.objects.filter(pk=token.pk).update(revoked_at=None)
            return
        data = {"action": "revoke", "_selected_action": [token.pk]}
        self._post(reverse("admin:users_apitoken_changelist"), data)

    # --- commands

    def seed_load(self) -> None:
        call_command(
            "seed_load", "--users=1", "--notes-per-user=2", "--tags=2", "--tags-per-note=1",
            f"--seed={next_version()}", stdout=StringIO(),
        )  # fmt: skip
        self._world.newest_user = self._passing_users().order_by("-pk")[0].pk
        if self._passing_users().count() > LOADED:
            self._passing_users().order_by("pk")[0].delete()

    def flush_cache(self) -> None:
        user = ["--user", str(self._user())]
        scopes = [["--all"], ["--type", "Note"], ["--viewer", "anonymous"], user]
        call_command("flush_cache", *self._rng.choice(scopes), stdout=StringIO())

    def flush_cache_before_the_commit(self) -> None:
        with transaction.atomic():
            note = self._note(lock=True)
            note.title = f"f #{next_version()}"
            note.save()
            self.flush_cache()

    # --- SQL, past Django's models

    def sql(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE notes_note SET title = 'q #' || nextval('version') WHERE id = %s",
                [self._note().pk],
            )

    def copy(self) -> None:
        with connection.cursor() as cursor:
            with cursor.copy(
                "COPY notes_note (title, content, author_id, is_public, created_at, updated_at) "
                "FROM STDIN"
            ) as rows:
                now = timezone.now()
                title = f"c #{next_version_of_another()}"
                rows.write_row((title, "public.", self._user(), True, now, now))
            cursor.execute("SELECT max(id) FROM notes_note")
            (self._world.newest_note,) = cursor.fetchone()

    def psql(self) -> None:
        """Write past the engine; wait until the outbox relay of a worker has delivered it."""
        try:
            self._send_by_psql(
                "UPDATE notes_note SET title = 'x #' || nextval('version') WHERE author_id = %s",
                [self._user()],
            )
        finally:
            self._wait_for_delivery()

    def _send_by_psql(self, sql: str, values: Sequence[Any] = ()) -> Any:
        if self._psql is None:
            self._psql = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)
        return self._psql.execute(sql, values)

    def _wait_for_delivery(self) -> None:
        """Wait for the outbox. A fault may end the session after a write that is committed."""
        end = time.monotonic() + 60
        while True:
            try:
                found = self._send_by_psql("SELECT count(*) FROM pcf_touch")
                if found.fetchone() == (0,):
                    return
            except psycopg.Error:
                self._psql = None
                if time.monotonic() > end:
                    raise
            time.sleep(0.01)

    # --- helpers

    def _post(self, address: str, form: dict[str, Any], *rows: Model) -> None:
        """Post a form of the admin. Raises Unavailable when a crash has lost one of ``rows``.

        A crash may also put a note back into the trash. The admin has no form for such a note. A
        write whose answer was lost may be committed later, and then a name is taken.
        """
        if self._browser is None:
            root, _ = User.objects.get_or_create(
                username="root", defaults={"name": "Root", "is_staff": True, "is_superuser": True}
            )
            self._browser = Browser(SERVER_NAME="127.0.0.1")
            self._browser.force_login(root)
        answer = self._browser.post(address, form)
        for row in rows if answer.status_code != 302 else ():
            alive = {"deleted_at": None} if isinstance(row, Note) else {}
            if not type(row)._default_manager.filter(pk=row.pk, **alive).exists():
                raise Unavailable("a crash of PostgreSQL has lost the row")
            others = type(row)._default_manager.exclude(pk=row.pk)
            if isinstance(row, Tag) and others.filter(name__iexact=form["name"]).exists():
                raise Unavailable("a write that seemed to fail has taken the name")
        errors = re.findall(rb'<ul class="errorlist.*?</ul>', answer.content, re.DOTALL)
        assert answer.status_code == 302, (address, form, errors or answer.content[-2000:])
