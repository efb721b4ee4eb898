"""Notes."""

from typing import Any, ClassVar

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVector
from django.core.validators import MaxLengthValidator
from django.db import models
from django.db.models.functions import Length, Now
from django.db.models.lookups import LessThanOrEqual
from django.utils import timezone

from pcf.database.fields import SearchText, folded, search_vector, time_in_range
from tags.models import Tag

MAX_TITLE = 200  # characters
MAX_CONTENT = 100_000  # characters
BUCKETS = 32  # rows at most that together count the notes of a tag

# The text search configurations: a copy of the setting NOTES_SEARCH_CONFIG, and one without stems
# for the beginnings of words. Both ignore accents.
SEARCH_CONFIG = "notes_search"
PREFIX_CONFIG = "notes_search_simple"


# ANALYZE keeps ten times as many titles, to tell a rare part of a title from a usual one. A link is
# made with a copy of the time of its note, so equal times say nothing beyond equal notes. With one
# distinct time PostgreSQL does not take the two for independent conditions.
PLAN_STATISTICS = """
ALTER TABLE notes_note ALTER COLUMN title_folded SET STATISTICS 1000;
ALTER TABLE notes_note ALTER COLUMN created_at SET (n_distinct = 1);
ALTER TABLE notes_notetag ALTER COLUMN created_at SET (n_distinct = 1);
DO $body$ BEGIN
    -- plans for an empty table that ANALYZE has seen are slow as soon as it has rows
    IF EXISTS (SELECT FROM notes_notetag) THEN
        ANALYZE notes_note (title_folded, created_at);
        ANALYZE notes_notetag (created_at);
    END IF;
END $body$;
"""
NO_PLAN_STATISTICS = """
ALTER TABLE notes_note ALTER COLUMN title_folded SET STATISTICS -1;
ALTER TABLE notes_note ALTER COLUMN created_at RESET (n_distinct);
ALTER TABLE notes_notetag ALTER COLUMN created_at RESET (n_distinct);
"""

# ANALYZE keeps the frequencies of ten times as many words. Without a frequency PostgreSQL takes a
# rare word for one of the rarest that it knows.
SEARCH_STATISTICS = "ALTER TABLE notes_note ALTER COLUMN search_vector SET STATISTICS 1000"


def _order_indexes(name: str, field: str, *include: str) -> list[models.Index]:
    """Return the indexes for one order: of all notes, and of the notes of an author."""
    return [
        models.Index(fields=(field, "id"), include=include, name=f"notes_note_{name}_id"),
        models.Index(fields=("author", field, "id"), name=f"notes_note_author_{name}_id"),
    ]


class NoteManager(models.Manager["Note"]):
    """The manager of notes: it fetches no search vectors."""

    def get_queryset(self) -> models.QuerySet["Note"]:
        """Return all notes."""
        return super().get_queryset().defer("search_vector")


class UpdatedAtField(models.DateTimeField):  # type: ignore[type-arg]
    """A field with ``auto_now`` whose value in a new row is that of ``created_at``."""

    def deconstruct(self) -> Any:
        """Return the plain field: migrations need no other."""
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.DateTimeField", args, kwargs

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        """Return the time to store, and set it on the instance."""
        if not add:
            return super().pre_save(model_instance, add)
        moment = model_instance.created_at  # type: ignore[attr-defined]
        setattr(model_instance, self.attname, moment)
        return moment


class Note(models.Model):
    """A text of one author, private or public, with tags.

    A note with ``deleted_at`` lies in the trash. Triggers count the writes of a note and of its
    tags in ``version`` (``notes.versions``), so a writer never sets it.

    The words of the title have the weight A in the search vector, those of the content B. The
    weight C marks the words of the title as they are written, for the beginnings of words.
    """

    title = models.CharField(max_length=MAX_TITLE)
    title_folded = folded("title")
    content = models.TextField(
        blank=True, max_length=MAX_CONTENT, validators=[MaxLengthValidator(MAX_CONTENT)]
    )
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notes", db_index=False
    )
    tags = models.ManyToManyField(Tag, related_name="notes", blank=True, through="NoteTag")
    is_public = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = UpdatedAtField(auto_now=True)
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)
    version = models.IntegerField(default=1, db_default=1, editable=False)
    search_vector = search_vector(
        SearchVector(SearchText("title"), config=SEARCH_CONFIG, weight="A")
        + SearchVector(SearchText("content"), config=SEARCH_CONFIG, weight="B")
        + SearchVector(SearchText("title"), config=PREFIX_CONFIG, weight="C")
    )

    objects: ClassVar[NoteManager] = NoteManager()

    class Meta:
        """The indexes serve each order of all notes and of an author's, the search and the trash.

        The indexes for orders have the notes in the trash, too: there are few. The index of authors
        has to, because the deletion of a user looks for all notes. The index for the newest notes
        includes what a search for a part of a title reads: a usual part is found there without the
        table, a rare one by the index of parts.
        """

        ordering = ("id",)
        indexes = [
            models.Index(fields=("author", "id"), name="notes_note_author_id"),
            *_order_indexes(
                "created", "created_at", "title_folded", "is_public", "deleted_at", "author"
            ),
            *_order_indexes("updated", "updated_at"),
            *_order_indexes("title", "title_folded"),
            GinIndex(
                fields=("title_folded",), opclasses=("gin_trgm_ops",), name="notes_note_title_part"
            ),
            GinIndex(fields=("search_vector",), name="notes_note_search"),
            models.Index(
                fields=("id",),
                condition=models.Q(is_public=True, deleted_at=None),
                name="notes_note_listed_public_id",
            ),
            models.Index(
                fields=("id",), condition=models.Q(deleted_at=None), name="notes_note_listed_id"
            ),
            models.Index(
                fields=("author", "deleted_at", "id"),
                condition=models.Q(deleted_at__isnull=False),
                name="notes_note_trash_author",
            ),
            models.Index(
                fields=("deleted_at", "id"),
                condition=models.Q(deleted_at__isnull=False),
                name="notes_note_trash",
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=~models.Q(title=""), name="notes_note_title_not_empty"
            ),
            models.CheckConstraint(
                condition=LessThanOrEqual(Length("content"), MAX_CONTENT),
                name="notes_note_content_length",
            ),
            time_in_range("created_at", "notes_note_created_at_range"),
            time_in_range("updated_at", "notes_note_updated_at_range"),
            time_in_range("deleted_at", "notes_note_deleted_at_range"),
        ]

    def __str__(self) -> str:
        return self.title


class NoteTag(models.Model):
    """The link between a note and one of its tags.

    ``created_at`` and ``is_public`` are copies of the note's values. ``is_deleted`` says whether
    the note lies in the trash. Triggers keep them, so that an index serves the notes of a tag by
    time.
    """

    note = models.ForeignKey(Note, on_delete=models.CASCADE, db_index=False)
    tag = models.ForeignKey(Tag, on_delete=models.CASCADE, db_index=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    is_public = models.BooleanField(db_default=False, editable=False)
    is_deleted = models.BooleanField(db_default=False, editable=False)

    class Meta:
        """Each direction has an index that answers its look-up in order."""

        constraints = [
            models.UniqueConstraint(fields=("note", "tag"), name="notes_notetag_note_tag"),
        ]
        indexes = [
            models.Index(fields=("tag", "note"), name="notes_notetag_tag_note"),
            models.Index(fields=("tag", "created_at", "note"), name="notes_notetag_tag_created"),
        ]

    def __str__(self) -> str:
        return f"{self.note_id} - {self.tag_id}"


class TagCount(models.Model):
    """A part of the number of notes with a tag: the sum over all buckets is the number.

    Notes in the trash do not count. Triggers keep the counters. A transaction writes to a bucket of
    its own, so transactions do not wait for each other. A bucket may hold a negative number.
    """

    # the foreign key in the database deletes the counters of a deleted tag
    tag = models.ForeignKey(
        Tag, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="counts"
    )
    bucket = models.SmallIntegerField()
    total = models.BigIntegerField(default=0)
    public = models.BigIntegerField(default=0)

    class Meta:
        """A bucket of a tag is one row."""

        constraints = [
            models.UniqueConstraint(fields=("tag", "bucket"), name="notes_tagcount_tag_bucket"),
        ]

    def __str__(self) -> str:
        return f"{self.tag_id}/{self.bucket}: {self.total}"
