"""Made-up users, notes and tags in large numbers, for ``seed_load`` and ``seed_demo``.

A load sends rows with COPY in batches, so its memory does not grow with the number of rows. A load
is one transaction; an interrupted load changes nothing. Ids come from the sequences of the tables,
so that rows which other sessions insert meanwhile cannot collide with them.

Text and times come from random generators seeded with ``Volume.seed``, one for each kind of row.
The same counts and seed give the same users, notes and tags for every batch size.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from random import Random
from typing import Any, TypeVar
from unicodedata import normalize

from django.contrib.auth.hashers import make_password
from django.db import connection, transaction

from notes import seed_text

FIRST_DAY = datetime(2024, 1, 1, tzinfo=UTC)
LAST_DAY = datetime(2026, 1, 1, tzinfo=UTC)
TABLES = ("users_user", "tags_tag", "notes_note", "notes_notetag", "notes_tagcount")

_SIGN_UPS = timedelta(days=365)  # users sign up within the first of the two years
RARE = 100  # one note of so many has seed_text.RARE_WORD
_LOCK = 0x5EED  # key of the advisory lock that allows one load at a time
_USER_COLUMNS = (
    "id, username, name, email, password, first_name, last_name, is_superuser, is_staff, "
    "is_active, date_joined, created_at"
)
_NOTE_COLUMNS = "id, title, content, author_id, is_public, created_at, updated_at"
_EMPTY_STATEMENTS = (
    "TRUNCATE notes_notetag, notes_note, notes_tagcount, tags_tag RESTART IDENTITY",
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
    """A count is wrong, or two counts contradict each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """The numbers of rows to load. Raises SeedingError for wrong numbers.

    ``private_share`` is the share of every user's notes that is private, 0 to 1, rounded to whole
    notes. ``batch_size`` is in rows.
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
        """The number of all notes."""
        return self.users * self.notes_per_user

    @property
    def note_tags(self) -> int:
        """The number of all links between notes and tags."""
        return self.notes * self.tags_per_note


def ignore_progress(notes: int) -> None:
    """Do nothing: the default for ``progress``."""


def load(
    volume: Volume,
    *,
    replace: bool = False,
    progress: Callable[[int], None] = ignore_progress,
) -> None:
    """Add ``volume`` to the database in one transaction, and update the tables' statistics.

    The load reuses tags with the same names. ``replace`` first deletes all notes, all tags, and all
    users who are neither staff nor superusers. The load calls ``progress`` after every batch with
    the number of notes so far.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        # PostgreSQL would keep one deferred check a row in memory until the commit.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        if replace:
            for statement in _EMPTY_STATEMENTS:
                cursor.execute(statement)
        tags = _find_or_add_tags(cursor, volume)
        _Loader(cursor, volume, tags, progress).run()
        cursor.execute(f"ANALYZE {', '.join(TABLES)}")


def vacuum() -> None:
    """Vacuum the loaded tables, so that index-only scans work before autovacuum runs.

    The function must run outside a transaction. A failure only makes reads slower for a while.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"VACUUM {', '.join(TABLES)}")


class _Loader:
    """Writes one load: users in batches, and the notes of each batch of users in batches."""

    def __init__(
        self, cursor: Any, volume: Volume, tags: Sequence[int], progress: Callable[[int], None]
    ) -> None:
        self.cursor = cursor
        self.volume = volume
        self.tags = tags
        self.progress = progress
        self.notes = 0  # so far
        self.password = make_password(
            None
        )  # unusable; the same for all users, because hashing is slow
        self.random_user, self.random_note, self.random_tags = (
            Random(f"{volume.seed}/{kind}")  # noqa: S311 (the sequence must be repeatable)
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
        username = _without_accents(f"{first}.{last}.{number}".lower())
        joined = FIRST_DAY + _SIGN_UPS * (index / self.volume.users)
        email = f"{username}@example.org"
        names = (f"{first} {last}", email, self.password, first, last)
        return (user_id, username, *names, False, False, True, joined, joined)

    def _notes(self, authors: Iterable[Author]) -> Iterator[Row]:
        """Yield the rows of ``notes_note`` without their ids, author by author."""
        random = self.random_note
        count = self.volume.notes_per_user
        private = round(count * self.volume.private_share)
        for author_id, joined in authors:
            shift = self.notes // max(count, 1)  # another one for each author
            step = (LAST_DAY - joined) / (count + 1)
            for index in range(count):
                title, content = self._text()
                # this spreads ``private`` notes evenly over ``count`` notes
                place = (index + shift) % count
                is_public = (place + 1) * private // count == place * private // count
                created = joined + step * (index + random.random())
                updated = created + step * random.random() if random.random() < 1 / 3 else created
                yield title, content, author_id, is_public, created, updated

    def _text(self) -> tuple[str, str]:
        """Return the title and the content of the next note."""
        title, content = seed_text.note(self.random_note)
        block, place = divmod(self.notes, RARE)
        self.notes += 1
        if place == block * 37 % RARE:  # one place in each block, seldom the same
            return seed_text.with_rare_word(title, content, in_title=block % 10 == 0)
        return title, content

    def _note_tags(self, note_ids: Iterable[int]) -> Iterator[Row]:
        """Yield the rows of ``notes_notetag``.

        The notes of a tag are inversely proportional to the square root of its position. All tags
        have the same number of notes where a note has more than half of the tags.
        """
        random, sample = self.random_tags.random, self.random_tags.sample
        tags, count = self.tags, self.volume.tags_per_note
        for note_id in note_ids:
            chosen = set() if 2 * count <= len(tags) else set(sample(range(len(tags)), count))
            while len(chosen) < count:
                chosen.add(int(random() ** 2 * len(tags)))
            for position in sorted(chosen):
                yield note_id, tags[position]

    def _last_number(self) -> int:
        """Return the highest number at the end of a loaded user's name, or 0."""
        self.cursor.execute(
            "SELECT COALESCE(MAX(split_part(username, '.', 3)::bigint), 0) FROM users_user "
            r"WHERE username ~ '^[a-z]+\.[a-z]+\.[0-9]{1,18}$'"
        )
        (number,) = self.cursor.fetchone()
        return int(number)

    def _reserve(self, table: str, count: int) -> list[int]:
        """Take ``count`` ids of ``table`` from its sequence."""
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
    """Return the ids of the first ``volume.tags`` tag names, in order. Add missing tags.

    Names are compared without regard to case, as the constraint of tags does.
    """
    ids: list[int] = []
    for indexes in _chunks(range(volume.tags), volume.batch_size):
        names = [seed_text.tag(index) for index in indexes]
        cursor.execute(
            "INSERT INTO tags_tag (name) "
            "SELECT name FROM unnest(%s::text[]) WITH ORDINALITY AS wanted (name, position) "
            "WHERE NOT EXISTS ("
            "SELECT FROM tags_tag t WHERE pcf_lower(t.name) = pcf_lower(wanted.name)"
            ") ORDER BY position ON CONFLICT DO NOTHING",
            [names],
        )
        cursor.execute(
            "SELECT t.id FROM unnest(%s::text[]) WITH ORDINALITY AS wanted (name, position) "
            "JOIN tags_tag t ON pcf_lower(t.name) = pcf_lower(wanted.name) ORDER BY position",
            [names],
        )
        ids.extend(key for (key,) in cursor.fetchall())
    return ids


def _without_accents(text: str) -> str:
    return normalize("NFD", text).encode("ascii", "ignore").decode()


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
