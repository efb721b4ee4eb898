"""Made-up users, notes and tags in quantity: what ``seed_load`` and ``seed_demo`` share.

Rows are made one after another and sent with COPY in batches, so memory does not grow with their
number. A load is one transaction: cut off, it leaves nothing behind. Ids come from the tables'
sequences, so rows that others insert meanwhile cannot collide with them.

Text and times come from generators seeded with ``Volume.seed``, one for each kind of row: the same
counts and seed give the same users, notes and tags, whatever the batch size.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from random import Random
from typing import Any, TypeVar

from django.contrib.auth.hashers import make_password
from django.db import connection, transaction

from notes import seed_text

FIRST_DAY = datetime(2024, 1, 1, tzinfo=UTC)
LAST_DAY = datetime(2026, 1, 1, tzinfo=UTC)
TABLES = ("users_user", "tags_tag", "notes_note", "notes_notetag")

_SIGN_UPS = timedelta(days=365)  # users sign up in the first of the two years
_LOCK = 0x5EED  # one load at a time: transaction-level advisory lock
_USER_COLUMNS = (
    "id, username, name, email, password, first_name, last_name, is_superuser, is_staff, "
    "is_active, date_joined, created_at"
)
_NOTE_COLUMNS = "id, title, content, author_id, is_public, created_at, updated_at"
_EMPTY_STATEMENTS = (
    "TRUNCATE notes_notetag, notes_note, tags_tag RESTART IDENTITY",
    *(
        f"DELETE FROM {table} USING users_user u "  # noqa: S608 (names from the line below)
        "WHERE u.id = user_id AND NOT (u.is_staff OR u.is_superuser)"
        for table in (
            "users_apitoken", "users_user_groups", "users_user_user_permissions", "django_admin_log"
        )
    ),
    "DELETE FROM users_user WHERE NOT (is_staff OR is_superuser)",
)  # fmt: skip

T = TypeVar("T")
Row = tuple[Any, ...]
Author = tuple[int, datetime]  # id, time of sign-up


class SeedingError(ValueError):
    """Counts that make no sense, or not together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """How much to load. Raises SeedingError when the numbers make no sense.

    ``private_share`` is the share (0 to 1) of every user's notes that is private, rounded to whole
    notes; ``batch_size`` is in rows.
    """

    users: int
    notes_per_user: int
    tags: int
    tags_per_note: int
    private_share: float = 0.2
    batch_size: int = 10_000
    seed: int = 1

    def __post_init__(self) -> None:
        counts = ("users", "notes_per_user", "tags", "tags_per_note")
        for name in counts:
            if getattr(self, name) < 0:
                message = f"{name} must not be negative, got {getattr(self, name)}"
                raise SeedingError(message)
        if self.tags_per_note > self.tags:
            message = f"tags_per_note ({self.tags_per_note}) is more than tags ({self.tags})"
            raise SeedingError(message)
        if self.batch_size < 1:
            message = f"batch_size must be at least 1 row, got {self.batch_size}"
            raise SeedingError(message)
        if not 0 <= self.private_share <= 1:
            message = f"private_share must lie between 0 and 1, got {self.private_share:g}"
            raise SeedingError(message)

    @property
    def notes(self) -> int:
        """All notes."""
        return self.users * self.notes_per_user

    @property
    def note_tags(self) -> int:
        """All rows that join a note to a tag."""
        return self.notes * self.tags_per_note


def ignore_progress(notes: int) -> None:
    """Progress for those who do not look at it."""


def load(
    volume: Volume,
    *,
    replace: bool = False,
    progress: Callable[[int], None] = ignore_progress,
) -> None:
    """Write ``volume`` to the database in one transaction, and its tables' statistics with it.

    A new set is added to what is there; tags are found by name. With ``replace`` all notes, all
    tags and all users who are neither staff nor superusers are deleted first. ``progress`` is
    called after every batch with the number of notes so far.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        # Deferred checks would queue in the server's memory, one entry a row, until the commit.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        if replace:
            for statement in _EMPTY_STATEMENTS:
                cursor.execute(statement)
        tags = _find_or_add_tags(cursor, volume)
        _Loader(cursor, volume, tags, progress).run()
        cursor.execute(f"ANALYZE {', '.join(TABLES)}")


def vacuum() -> None:
    """Vacuum the loaded tables, so that index-only scans need not wait for autovacuum.

    Must run outside a transaction; losing it costs speed for a while and nothing else.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"VACUUM {', '.join(TABLES)}")


class _Loader:
    """One load: users in batches, and for each batch of users their notes in batches."""

    def __init__(
        self, cursor: Any, volume: Volume, tags: Sequence[int], progress: Callable[[int], None]
    ) -> None:
        self.cursor = cursor
        self.volume = volume
        self.tags = tags
        self.progress = progress
        self.password = make_password(None)  # unusable; made once, it is the same for all
        self.random_user, self.random_note, self.random_tags = (
            Random(f"{volume.seed}/{kind}")  # noqa: S311 (repeatable is what is wanted)
            for kind in ("users", "notes", "tags")
        )

    def run(self) -> None:
        """Write all rows."""
        volume = self.volume
        first_number = self._last_number() + 1
        done = 0
        for indexes in _chunks(range(volume.users), volume.batch_size):
            ids = self._reserve("users_user", len(indexes))
            users = [
                self._user(user_id, first_number + index, index)
                for user_id, index in zip(ids, indexes, strict=True)
            ]
            self._copy("users_user", _USER_COLUMNS, users)
            authors = [(user[0], user[-1]) for user in users]
            for notes in _chunks(self._notes(authors), volume.batch_size):
                self._write_notes(notes)
                done += len(notes)
                self.progress(done)

    def _write_notes(self, notes: list[Row]) -> None:
        ids = self._reserve("notes_note", len(notes))
        rows = ((note_id, *note) for note_id, note in zip(ids, notes, strict=True))
        self._copy("notes_note", _NOTE_COLUMNS, rows)
        if self.volume.tags_per_note:
            self._copy("notes_notetag", "note_id, tag_id", self._note_tags(ids))

    def _user(self, user_id: int, number: int, index: int) -> Row:
        first, last = seed_text.person(self.random_user)
        username = f"{first}.{last}.{number}".lower()
        joined = FIRST_DAY + _SIGN_UPS * (index / self.volume.users)
        email = f"{username}@example.org"
        names = (f"{first} {last}", email, self.password, first, last)
        return (user_id, username, *names, False, False, True, joined, joined)

    def _notes(self, authors: Iterable[Author]) -> Iterator[Row]:
        """Rows of ``notes_note`` without their ids: an author's notes one after another."""
        random = self.random_note
        count = self.volume.notes_per_user
        private = round(count * self.volume.private_share)
        for author_id, joined in authors:
            step = (LAST_DAY - joined) / (count + 1)
            for index in range(count):
                title, content = seed_text.note(random)
                # spreads ``private`` notes evenly over ``count``
                is_public = (index + 1) * private // count == index * private // count
                created = joined + step * (index + random.random())
                updated = created + step * random.random() if random.random() < 1 / 3 else created
                yield title, content, author_id, is_public, created, updated

    def _note_tags(self, note_ids: Iterable[int]) -> Iterator[Row]:
        sample, tags, count = self.random_tags.sample, self.tags, self.volume.tags_per_note
        return ((note_id, tag_id) for note_id in note_ids for tag_id in sample(tags, count))

    def _last_number(self) -> int:
        """The highest number at the end of a loaded user's name; 0 when there is none."""
        self.cursor.execute(
            "SELECT COALESCE(MAX(split_part(username, '.', 3)::bigint), 0) FROM users_user "
            r"WHERE username ~ '^[a-z]+\.[a-z]+\.[0-9]{1,18}$'"
        )
        (number,) = self.cursor.fetchone()
        return int(number)

    def _reserve(self, table: str, count: int) -> list[int]:
        """``count`` ids of ``table`` that nobody else will get."""
        self.cursor.execute(
            "SELECT nextval(pg_get_serial_sequence(%s, 'id')::regclass) "
            "FROM generate_series(1, %s)",
            [table, count],
        )
        return [row[0] for row in self.cursor.fetchall()]

    def _copy(self, table: str, columns: str, rows: Iterable[Row]) -> None:
        with self.cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)


def _find_or_add_tags(cursor: Any, volume: Volume) -> list[int]:
    """The ids of the first ``volume.tags`` tag names, in that order; missing ones are added."""
    ids: list[int] = []
    for indexes in _chunks(range(volume.tags), volume.batch_size):
        names = [seed_text.tag(index) for index in indexes]
        cursor.execute(
            "INSERT INTO tags_tag (name) "
            "SELECT name FROM unnest(%s::text[]) WITH ORDINALITY AS wanted (name, position) "
            "WHERE NOT EXISTS (SELECT FROM tags_tag WHERE tags_tag.name = wanted.name) "
            "ORDER BY position ON CONFLICT DO NOTHING",
            [names],
        )
        cursor.execute("SELECT name, id FROM tags_tag WHERE name = ANY(%s)", [names])
        found = dict(cursor.fetchall())
        ids.extend(found[name] for name in names)
    return ids


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
