"""Loaders of notes, and of the tags of notes. Each shows a viewer only what they may read."""

from collections.abc import Sequence

from notes.models import Note, NoteTag
from notes.policy import visible_notes
from pcf.database.lateral import OuterKey, lateral
from pcf.execution.loaders import ListLoader, Loader
from tags.models import Tag


class NoteById(Loader):
    """Notes by primary key; one that the viewer may not read is as absent as one that is not."""

    dependency = "note"

    def load_batch(self, keys: Sequence[int]) -> dict[int, Note]:
        """All of ``keys`` that exist and are readable."""
        return Note.objects.filter(visible_notes(self.viewer)).in_bulk(keys)


class NotesByAuthor(ListLoader):
    """A page of each author's notes, by id. Arguments: ``first``, ``after``."""

    dependency = "notes-by-author"

    def load_batch(self, keys: Sequence[int]) -> dict[int, list[Note]]:
        """The page of every author in ``keys``, each limited by itself."""
        notes = Note.objects.filter(visible_notes(self.viewer), author_id=OuterKey())
        page = notes.filter(id__gt=self.arguments["after"]).order_by("id")
        return lateral(page[: self.arguments["first"]], keys)


class NotesByTag(ListLoader):
    """A page of the notes that carry each tag, by id. Arguments: ``first``, ``after``."""

    dependency = "notes-by-tag"

    def load_batch(self, keys: Sequence[int]) -> dict[int, list[Note]]:
        """The page of every tag in ``keys``, each limited by itself."""
        notes = Note.objects.filter(
            visible_notes(self.viewer),
            notetag__tag_id=OuterKey(),
            notetag__note_id__gt=self.arguments["after"],
        )
        return lateral(notes.order_by("id")[: self.arguments["first"]], keys)


class TagsByNote(ListLoader):
    """The tags of each note, by id. The notes themselves were found readable before."""

    dependency = "tags-by-note"

    def load_batch(self, keys: Sequence[int]) -> dict[int, list[Tag]]:
        """The tags of every note in ``keys``."""
        links = NoteTag.objects.filter(note_id__in=keys).select_related("tag")
        found: dict[int, list[Tag]] = {}
        for link in links.order_by("note_id", "tag_id"):
            found.setdefault(link.note_id, []).append(link.tag)
        self.dependencies.add("tag", {tag.id for tags in found.values() for tag in tags})
        return found
