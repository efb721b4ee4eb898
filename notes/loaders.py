"""Loaders of notes, and of the tags of notes. Each shows a viewer only what they may read."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db.models import QuerySet

from notes.models import Note
from notes.policy import visible_notes
from pcf.execution.loaders import ListLoader
from pcf.execution.row_loaders import PageLoader, RootPageLoader, RowListLoader, RowLoader
from pcf.viewer import Viewer
from tags.loaders import TagByName
from tags.models import Tag


class _Notes(RowLoader):
    """A note that the viewer may not read is as absent as one that is not there."""

    model = Note

    @classmethod
    def queryset(cls, viewer: Viewer) -> QuerySet[Note]:
        """The notes that are readable."""
        return Note.objects.filter(visible_notes(viewer))


class NoteById(_Notes):
    """Notes by primary key."""

    dependency = "note"


class AllNotes(_Notes, RootPageLoader):
    """A page of all notes. Arguments: ``first``, ``after``."""

    dependency = "notes"
    row_dependency = "note"


class NotesByAuthor(_Notes, PageLoader):
    """A page of each author's notes, by id. Arguments: ``first``, ``after``."""

    dependency = "notes-by-author"
    row_dependency = "note"
    key = "author_id"


class NotesByTag(_Notes, PageLoader):
    """A page of the notes that carry each tag, by id. Arguments: ``first``, ``after``, and
    ``author`` for the notes of only one.
    """

    dependency = "notes-by-tag"
    row_dependency = "note"
    key = "notetag__tag_id"

    @classmethod
    def page(
        cls, queryset: QuerySet[Any, Any], key: Any, arguments: Mapping[str, Any]
    ) -> QuerySet[Any, Any]:
        """The page begins in the index of tags, which is read no further than it goes."""
        after = {"notetag__note_id__gt": arguments["after"]}
        author = {"author_id": arguments["author"]} if "author" in arguments else {}
        return queryset.filter(notetag__tag_id=key, **after, **author)


class NotesByTagName(ListLoader):
    """As NotesByTag, for the names of tags; a name that no tag has has no notes."""

    dependency = "tag-name"
    model = Note

    def load_batch(self, keys: Sequence[str]) -> Mapping[str, list[Any]]:
        """Two statements: the tags, and their pages."""
        tags = TagByName(self.viewer, self.dependencies, {}, ("id", "name")).load_batch(keys)
        ids = [tag.id for tag in tags.values()]
        self.dependencies.add(NotesByTag.dependency, ids)
        by_tag = NotesByTag(self.viewer, self.dependencies, self.arguments, self.columns)
        pages = by_tag.load_batch(ids) if ids else {}
        return {name: pages[tag.id] for name, tag in tags.items() if tag.id in pages}


class TagsByNote(RowListLoader):
    """The tags of each note, by id. The notes themselves were found readable before."""

    dependency = "tags-by-note"
    row_dependency = "tag"
    model = Tag
    key = "notetag__note_id"

    @classmethod
    def queryset(cls, viewer: Viewer) -> QuerySet[Tag]:
        """Tags are public."""
        del viewer
        return Tag.objects.order_by("id")
