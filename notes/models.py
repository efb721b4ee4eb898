"""Notes."""

from django.conf import settings
from django.core.validators import MaxLengthValidator
from django.db import models
from django.db.models.functions import Length
from django.db.models.lookups import LessThanOrEqual
from django.utils import timezone

from tags.models import Tag

MAX_TITLE = 200  # characters
MAX_CONTENT = 100_000  # characters


class Note(models.Model):
    """A text of its author, private or public, marked with tags."""

    title = models.CharField(max_length=MAX_TITLE)
    content = models.TextField(
        blank=True, max_length=MAX_CONTENT, validators=[MaxLengthValidator(MAX_CONTENT)]
    )
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notes", db_index=False
    )
    tags = models.ManyToManyField(Tag, related_name="notes", blank=True, through="NoteTag")
    is_public = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        """Indexes: an author's notes by id; public notes by id for viewers without an account."""

        ordering = ("id",)
        indexes = [
            models.Index(fields=("author", "id"), name="notes_note_author_id"),
            models.Index(
                fields=("id",), condition=models.Q(is_public=True), name="notes_note_public_id"
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
        ]

    def __str__(self) -> str:
        return self.title


class NoteTag(models.Model):
    """A note carries a tag."""

    note = models.ForeignKey(Note, on_delete=models.CASCADE, db_index=False)
    tag = models.ForeignKey(Tag, on_delete=models.CASCADE, db_index=False)

    class Meta:
        """Both directions are looked up in order, so both have an index that holds the answer."""

        constraints = [
            models.UniqueConstraint(fields=("note", "tag"), name="notes_notetag_note_tag"),
        ]
        indexes = [models.Index(fields=("tag", "note"), name="notes_notetag_tag_note")]

    def __str__(self) -> str:
        return f"{self.note_id} - {self.tag_id}"
