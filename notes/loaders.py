"""Loaders of notes, and of the tags of notes. They load only rows that the viewer may read."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from django.db.models import QuerySet

from notes.filters import (
    NOTE_FILTERS,
    NOTE_ORDERS,
    TAG_FILTERS,
    TAG_ORDERS,
    TRASH_FILTERS,
    TRASH_ORDERS,
    note_count,
)
from notes.models import Note
from notes.policy import own_trash, visible_notes
from pcf.database.key_types import recorded_type
from pcf.execution.loaders import ListLoader
from pcf.execution.row_loaders import PageLoader, RootPageLoader, RowListLoader, RowLoader
from pcf.pagination.loaders import ConnectionLoader, RootConnectionLoader
from pcf.pagination.search import SnippetLoader
from pcf.viewer import Viewer
from tags.loaders import TagByName
from tags.models import Tag


class _Notes(RowLoader):
    """Loads notes. A note that the viewer may not read looks like a missing one."""

    model = Note

    @classmethod
    def queryset(cls, viewer: Viewer) -> QuerySet[Note]:
        """Return the notes that the viewer may read."""
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
    """A page of the notes with each tag, by id.

    Arguments: ``first``, ``after``, and ``author`` for the notes of one author.
    """

    dependency = "notes-by-tag"
    row_dependency = "note"
    key = "notetag__tag_id"

    @classmethod
    def page(
        cls, queryset: QuerySet[Any, Any], key: Any, arguments: Mapping[str, Any]
    ) -> QuerySet[Any, Any]:
        """Return one page. PostgreSQL reads only this page from the index of tags."""
        after = {"notetag__note_id__gt": arguments["after"]}
        author = {"author_id": arguments["author"]} if "author" in arguments else {}
        return queryset.filter(notetag__tag_id=key, **after, **author)


class NotesByTagName(ListLoader):
    """A page of the notes with each tag, by the tag's name. Unknown names have no notes."""

    dependency = "tag-name"
    model = Note
    waits_for_database_only = True

    def load_batch(self, keys: Sequence[str]) -> Mapping[str, list[Any]]:
        """Return the pages by name, with one statement for the tags and one for the pages."""
        tags = TagByName(self.viewer, self.dependencies, {}, ("id", "name")).load_batch(keys)
        ids = [tag.id for tag in tags.values()]
        self.dependencies.add(NotesByTag.dependency, ids)
        by_tag = NotesByTag(self.viewer, self.dependencies, self.arguments, self.columns)
        pages = by_tag.load_batch(ids) if ids else {}
        return {name: pages[tag.id] for name, tag in tags.items() if tag.id in pages}


class TagsByNote(RowListLoader):
    """The tags of each note, by id. Another loader has checked that the note is readable.

    The order is ``Meta.ordering`` of Tag. An ``order_by`` here would be another one.
    """

    dependency = "tags-by-note"
    row_dependency = "tag"
    model = Tag
    key = "notetag__note_id"

    @classmethod
    def queryset(cls, viewer: Viewer) -> QuerySet[Tag]:
        """Return all tags, because every viewer may see them."""
        del viewer
        return Tag.objects.all()


class NoteConnections(_Notes, RootConnectionLoader):
    """A page of all notes, filtered and sorted. A filter for authors makes it depend on theirs."""

    dependency = "notes"
    row_dependency = "note"
    orders = NOTE_ORDERS
    filters = NOTE_FILTERS
    narrowing: ClassVar[Mapping[str, str]] = {"author_id": "notes-by-author"}


class NoteConnectionsByAuthor(_Notes, ConnectionLoader):
    """A page of each author's notes, filtered and sorted."""

    dependency = "notes-by-author"
    row_dependency = "note"
    key = "author_id"
    orders = NOTE_ORDERS
    filters = NOTE_FILTERS


class NoteConnectionsByTag(_Notes, ConnectionLoader):
    """A page of the notes with each tag, filtered and sorted.

    The links have copies of ``created_at``, so that an index serves this order. The other tags of
    the notes may change in two transactions at once, so a filter for tags depends on all links.
    """

    dependency = "notes-by-tag"
    row_dependency = "note"
    key = "notetag__tag_id"
    orders = NOTE_ORDERS
    filters = NOTE_FILTERS
    paths: ClassVar[Mapping[str, str]] = {
        "ID": "notetag__note_id",
        "CREATED_AT": "notetag__created_at",
    }
    column_kinds: ClassVar[Mapping[str, str]] = {"tags": "notes.tags"}
    unindexed = frozenset({"UPDATED_AT", "TITLE"})


class TrashByAuthor(ConnectionLoader):
    """A page of each author's trash. The trash of another author than the viewer is empty."""

    model = Note
    dependency = "trash"
    row_dependency = "note"
    key = "author_id"
    orders = TRASH_ORDERS
    filters = TRASH_FILTERS

    @classmethod
    def queryset(cls, viewer: Viewer) -> QuerySet[Note]:
        """Return the notes in the viewer's trash."""
        return Note.objects.filter(own_trash(viewer))


class NoteSnippets(_Notes, SnippetLoader):
    """Where a search was found in notes."""

    dependency = "note"
    filters = NOTE_FILTERS
    texts = ("title", "content")


class _AllTags(RowLoader):
    """Every viewer may see every tag."""

    model = Tag

    @classmethod
    def queryset(cls, viewer: Viewer) -> QuerySet[Tag]:
        """Return all tags."""
        del viewer
        return Tag.objects.all()


class TagConnections(_AllTags, RootConnectionLoader):
    """A page of all tags, filtered and sorted."""

    dependency = "tags"
    row_dependency = "tag"
    orders = TAG_ORDERS
    filters = TAG_FILTERS


class TagConnectionsByNote(_AllTags, ConnectionLoader):
    """A page of the tags of each note. Another loader has checked that the note is readable."""

    dependency = "tags-by-note"
    row_dependency = "tag"
    key = "notetag__note_id"
    orders = TAG_ORDERS
    filters = TAG_FILTERS
    column_kinds: ClassVar[Mapping[str, str]] = {
        "name_folded": "tags.name_folded",
        "note_count": "tags.note_count",
    }
    paths: ClassVar[Mapping[str, str]] = {"ID": "notetag__tag_id"}
    unindexed = frozenset({"NAME"})  # a note has few tags


class NoteCountByTag(_AllTags):
    """The number of notes with each tag that the viewer may read."""

    dependency = "notes-by-tag"

    def record(self, keys: Sequence[Any]) -> None:
        """Record the lists of the tags, and the tags."""
        super().record(keys)
        self.dependencies.add("tag", keys, recorded_type(Tag, "pk"))

    def kinds(self) -> frozenset[str]:
        """Return the kinds of both."""
        return frozenset(("notes-by-tag", "tag"))

    @classmethod
    def build(cls, viewer: Viewer, arguments: Mapping[str, Any]) -> QuerySet[Any, Any]:
        """Return the tags with their numbers."""
        rows: Any = super().build(viewer, arguments)
        return rows.annotate(pcf_count=note_count(viewer))  # type: ignore[no-any-return]

    def _select_columns(self, queryset: QuerySet[Any, Any], using: str) -> QuerySet[Any, Any]:
        return queryset.using(using).values_list("pk", "pcf_count")

    def load_batch(self, keys: Sequence[Any]) -> Mapping[Any, int]:
        """Return the numbers of the tags that exist."""
        return self._as_asked(keys, dict(self._fetch(keys)))
