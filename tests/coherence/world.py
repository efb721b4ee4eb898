"""The data of a run, and what the text of an answer says about it.

The title of a note ends with its version, ``#17``. Versions come from a sequence that a writer
reads while it runs alone, so the versions of one note only grow. The content of a note is
``private-of-5.`` while it is a private note of user 5, and ``public.`` otherwise.
"""

import os
import re
from dataclasses import dataclass, field
from typing import Any

import psycopg
from django.db import connection, transaction

from notes.models import Note
from tags.models import Tag
from tests.coherence.client import Viewer
from users import sessions
from users.models import ApiToken, User

_VERSION = re.compile(rb'"id":"(\d+)","title":"[^"]*#(\d+)"')
_BY_PSQL = re.compile(rb'"id":"\d+","title":"x #\d+"')
_COUNTER = re.compile(
    rb'"id":"(\d+)","title":"(?!x )[^"]*","content":"[^"]*","isPublic":\w+,"version":(\d+)'
)
_PRIVATE = re.compile(rb"private-of-(\d+)\.")

PEOPLE, NOTES, TAGS = 8, 40, 8
WITH_COOKIES = {0, 5, 6}  # users with a session cookie beside their token


@dataclass
class World:
    """The viewers, and the ids that queries may ask for."""

    viewers: list[Viewer] = field(default_factory=list)
    ended: list[Viewer] = field(default_factory=list)  # their sessions have ended, or may have
    users: list[int] = field(default_factory=list)
    newest_note: int = 0
    newest_tag: int = 0
    newest_user: int = 0  # of those that are deleted again
    names: list[str] = field(default_factory=list)

    @classmethod
    def build(cls) -> "World":
        with connection.cursor() as cursor:
            cursor.execute("CREATE SEQUENCE version")
        world = cls()
        for number in range(PEOPLE):
            user = User.objects.create(
                username=f"u{number}", name=f"User {number}", email=f"u{number}@example.org",
                is_staff=number == 0,
            )  # fmt: skip
            world.users.append(user.pk)
            _, text = ApiToken.issue(user, "fuzz", scope="admin" if number < 2 else "write")
            # the first two may become staff, and staff may see private notes
            world.viewers.append(Viewer(user.pk, text, number < 2))
            if number in WITH_COOKIES:
                world.viewers.append(begin_session(user, ever_staff=number < 2))
        tags = [Tag.objects.create(name=f"tag{number}") for number in range(TAGS)]
        world.names = [tag.name for tag in tags]
        for number in range(NOTES):
            note = Note(title=f"n #{next_version()}", author_id=world.users[number % PEOPLE])
            note.is_public = number % 2 == 0
            note.content = content(note.author_id, note.is_public)
            note.save()
            note.tags.set(tags[number % TAGS : number % TAGS + 2])
            world.newest_note = note.pk
        world.newest_tag = tags[-1].pk
        return world

    def twin(self, viewer: Viewer | None) -> Viewer | None:
        """Return the same user with the other kind of credentials, if there is one."""
        for other in self.viewers:
            if viewer and (other.user, other.has_cookie) == (viewer.user, not viewer.has_cookie):
                return other
        return None

    def versions(self, body: bytes) -> dict[bytes, int]:
        """Return the lowest version of each note in an answer."""
        found: dict[bytes, int] = {}
        for note, version in _VERSION.findall(body):
            found[note] = min(int(version), found.get(note, 1 << 60))
        return found

    def counters(self, body: bytes) -> dict[bytes, int]:
        """Return the field ``version`` of each note, without those whose title is by psql."""
        found: dict[bytes, int] = {}
        for note, version in _COUNTER.findall(body):
            found[note] = min(int(version), found.get(note, 1 << 60))
        return found

    def delivered_versions(self, body: bytes) -> dict[bytes, int]:
        """Return the versions without those of psql: an answer may be older for a moment."""
        return self.versions(_BY_PSQL.sub(b"", body))

    def owners_of_private_texts(self, body: bytes) -> set[int]:
        """Return the users whose private notes an answer shows."""
        return {int(owner) for owner in _PRIVATE.findall(body)}


def begin_session(user: User, *, ever_staff: bool) -> Viewer:
    """Return the user as a browser with a session cookie, with the rights of its token.

    No crash of PostgreSQL loses the session, nor the end of the sessions before it.
    """
    scope = "admin" if ever_staff else "write"
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL synchronous_commit = on")
        access = sessions.begin(user, device="fuzz", scope=scope, has_cookie=True)
    return Viewer(user.pk, access.access_token, ever_staff, has_cookie=True)


def next_version() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('version')")
        row: Any = cursor.fetchone()
    return int(row[0])


def content(author: int, is_public: bool) -> str:
    return "public." if is_public else f"private-of-{author}."


def next_version_of_another() -> int:
    """Return the next version, over a connection of its own: the usual one is in a COPY."""
    with psycopg.connect(os.environ["DATABASE_URL"]) as other:
        row: Any = other.execute("SELECT nextval('version')").fetchone()
    return int(row[0])
