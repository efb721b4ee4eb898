"""PCF's tables as models that no project of the peers manages."""

from typing import Any, ClassVar

from django.db import models


class User(models.Model):
    name = models.CharField(max_length=150)
    objects: ClassVar[models.Manager["User"]] = models.Manager()

    class Meta:
        managed = False
        db_table = "users_user"
        ordering = ("id",)


class Tag(models.Model):
    name = models.CharField(max_length=50)

    class Meta:
        managed = False
        db_table = "tags_tag"
        ordering = ("id",)


class Note(models.Model):
    title = models.CharField(max_length=200)
    author: Any = models.ForeignKey(User, on_delete=models.CASCADE, related_name="notes")
    tags: Any = models.ManyToManyField(Tag, related_name="notes", through="NoteTag")
    is_public = models.BooleanField()
    deleted_at = models.DateTimeField(null=True)
    objects: ClassVar[models.Manager["Note"]] = models.Manager()

    class Meta:
        managed = False
        db_table = "notes_note"
        ordering = ("id",)


class NoteTag(models.Model):
    note: Any = models.ForeignKey(Note, on_delete=models.CASCADE)
    tag: Any = models.ForeignKey(Tag, on_delete=models.CASCADE)

    class Meta:
        managed = False
        db_table = "notes_notetag"


VISIBLE = models.Q(is_public=True, deleted_at=None)  # notes that everybody may read
