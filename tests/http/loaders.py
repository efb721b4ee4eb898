"""Loaders whose rows depend on more than their keys, or are read after the loader has returned."""

from datetime import UTC, datetime

from notes.models import Note
from pcf.execution.loaders import ListLoader
from pcf.execution.row_loaders import RootPageLoader
from tags.models import Tag


class LazyTags(ListLoader):
    """A loader that returns query sets, which run their statements after the loader."""

    dependency = "tags"

    def load_batch(self, keys):
        return {key: Tag.objects.order_by("pk") for key in keys}


class PartNotes(ListLoader):
    """A loader whose instances read a column when it is asked for."""

    dependency = "notes"

    def load_batch(self, keys):
        return {key: list(Note.objects.only("id").order_by("pk")) for key in keys}


class World:
    """What the query sets below depend on beside their viewer."""

    now: datetime = datetime.max.replace(tzinfo=UTC)
    banned: frozenset[int] = frozenset()


class DueNotes(RootPageLoader):
    """Notes whose time has come."""

    model, dependency, row_dependency = Note, "notes", "note"

    @classmethod
    def queryset(cls, viewer):
        del viewer
        return Note.objects.filter(created_at__lte=World.now)


class UnlessBanned(RootPageLoader):
    """All notes, for viewers who are not banned."""

    model, dependency, row_dependency = Note, "notes", "note"

    @classmethod
    def queryset(cls, viewer):
        return Note.objects.none() if viewer.id in World.banned else Note.objects.all()
