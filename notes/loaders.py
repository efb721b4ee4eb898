"""Loaders of notes, and of the tags of notes. Each shows a viewer only what they may read."""

from collections.abc import Mapping, Sequence
from typing import Any

from notes.models import Note, NoteTag
from notes.policy import visible_notes
from pcf.database.lateral import OuterKey
from pcf.execution.loaders import ListLoader, Loader
from pcf.execution.rows import AnyOf, find, find_lists, row_class
from tags.models import Tag


class NoteById(Loader):
    """Notes by primary key; one that the viewer may not read is as absent as one that is not."""

    dependency = "note"
    model = Note

    def load_batch(self, keys: Sequence[int]) -> Mapping[int, Any]:
        """All of ``keys`` that exist and are readable."""
        return find(Note.objects.filter(visible_notes(self.viewer)), keys, self.columns)


class NotesByAuthor(ListLoader):
    """A page of each author's notes, by id. Arguments: ``first``, ``after``."""

    dependency = "notes-by-author"
    model = Note

    def load_batch(self, keys: Sequence[int]) -> Mapping[int, list[Any]]:
        """The page of every author in ``keys``, each limited by itself."""
        notes = Note.objects.filter(visible_notes(self.viewer), author_id=OuterKey())
        page = notes.filter(id__gt=self.arguments["after"]).order_by("id")
        return find_lists(page[: self.arguments["first"]], keys, self.columns)


class NotesByTag(ListLoader):
    """A page of the notes that carry each tag, by id. Arguments: ``first``, ``after``."""

    dependency = "notes-by-tag"
    model = Note

    def load_batch(self, keys: Sequence[int]) -> Mapping[int, list[Any]]:
        """The page of every tag in ``keys``, each limited by itself."""
        notes = Note.objects.filter(
            visible_notes(self.viewer),
            notetag__tag_id=OuterKey(),
            notetag__note_id__gt=self.arguments["after"],
        )
        page = notes.order_by("id")[: self.arguments["first"]]
        return find_lists(page, keys, self.columns)


class TagsByNote(ListLoader):
    """The tags of each note, by id. The notes themselves were found readable before."""

    dependency = "tags-by-note"
    model = Tag

    def load_batch(self, keys: Sequence[int]) -> Mapping[int, list[Any]]:
        """The tags of every note in ``keys``."""
        links = NoteTag.objects.filter(AnyOf("note_id", keys)).order_by("note_id", "tag_id")
        found: dict[int, list[Any]] = {}
        if self.columns is None:
            for link in links.select_related("tag"):
                found.setdefault(link.note_id, []).append(link.tag)
            self.dependencies.add("tag", {tag.id for tags in found.values() for tag in tags})
            return found
        make = row_class(Tag, self.columns)
        names = [f"tag__{column}" for column in self.columns]
        tag_ids = set()
        for row in links.values_list(*names, "tag_id", "note_id"):
            found.setdefault(row[-1], []).append(make(row))
            tag_ids.add(row[-2])
        self.dependencies.add("tag", tag_ids)
        return found
