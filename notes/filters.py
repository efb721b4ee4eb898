"""What clients may sort and filter by: notes, and tags by their notes."""

from typing import Any

from django.db.models import Count, IntegerField, OuterRef, Q, Subquery, Sum
from django.db.models.functions import Coalesce

from notes.models import PREFIX_CONFIG, SEARCH_CONFIG, Note, NoteTag, TagCount
from pcf.pagination.counts import FacetSource
from pcf.pagination.filter_types import (
    BooleanFilter,
    DateTimeFilter,
    IDFilter,
    RelatedFilter,
    StringFilter,
)
from pcf.pagination.filters import FilterSet
from pcf.pagination.orders import RELEVANCE, Order, OrderSet, Term
from pcf.pagination.search import SearchFilter
from pcf.viewer import Viewer
from tags.models import Tag

NOTE_ORDERS = OrderSet(
    "Note",
    {
        "CREATED_AT": Order("created_at", "By the time at which the note was made."),
        "UPDATED_AT": Order("updated_at", "By the time of the last change."),
        "TITLE": Order("title_folded", "By title, without regard to case and accents."),
        "RELEVANCE": RELEVANCE,
    },
    default=(Term("CREATED_AT", descending=True),),
)

# the columns that decide which lists show a note are those of the lists themselves
NOTE_FILTERS = FilterSet(
    "Note",
    Note,
    {
        "id": IDFilter("pk", "The id of the note.", columns=()),
        "author_id": IDFilter("author_id", "The id of the author.", columns=()),
        "is_public": BooleanFilter(
            "is_public", "Whether the note is public: true or false.", columns=()
        ),
        "title": StringFilter("title_folded", "The title, without regard to case and accents."),
        "created_at": DateTimeFilter("created_at", "When the note was made."),
        "updated_at": DateTimeFilter("updated_at", "When the note was changed."),
        "tags": RelatedFilter(
            "tags",
            "The tags of the note.",
            name="Tag",
            through=NoteTag,
            link="note",
            target="tag_id",
            by_name="name",
            name_kind="tag-name",
            copies=(("created_at", "created_at"),),
        ),
        "search": SearchFilter(
            "search_vector",
            'A search in title and content, with the syntax of web searches: words, "a phrase", '
            "or, -without.",
            config=SEARCH_CONFIG,
        ),
        "search_prefix": SearchFilter(
            "search_vector",
            "A search while somebody types: all words occur, the last may be incomplete.",
            config=PREFIX_CONFIG,
            prefix=True,
        ),
    },
)

TRASH_ORDERS = OrderSet(
    "TrashedNote",
    {
        "DELETED_AT": Order(
            "deleted_at",
            "By the time at which the note was deleted.",
            columns=(),  # those of the list itself
            is_indexed=False,  # a partial index serves it, which no check finds
            not_null=True,  # every note in the trash has the time
        )
    },
    default=(Term("DELETED_AT", descending=True),),
)

TRASH_FILTERS = FilterSet(
    "TrashedNote", Note, {"id": IDFilter("pk", "The id of the note.", columns=())}
)

TAGS_OF_NOTES = FacetSource(NoteTag, "note", "tag_id", "tags")


def note_count(viewer: Viewer) -> Any:
    """Return an expression for the number of notes with a tag that the viewer may read.

    Triggers keep the numbers of all notes and of all public ones. A member's own private notes are
    counted.
    """
    column = "total" if viewer.is_staff else "public"
    counters = TagCount.objects.filter(tag_id=OuterRef("pk")).order_by().values("tag_id")
    count = Coalesce(_number(counters.annotate(number=Sum(column))), 0)
    if viewer.is_staff or not viewer.is_authenticated:
        return count
    own = NoteTag.objects.filter(
        Q(note__is_public=False, note__deleted_at=None),
        tag_id=OuterRef("pk"),
        note__author_id=viewer.id,
    )
    private = own.order_by().values("tag_id").annotate(number=Count("*"))
    return count + Coalesce(_number(private), 0)


def _number(counted: Any) -> Subquery:
    return Subquery(counted.values("number"), output_field=IntegerField())


TAG_ORDERS = OrderSet(
    "Tag",
    {
        "NAME": Order("name_folded", "By name, without regard to case and accents."),
        "NOTE_COUNT": Order(
            note_count,
            "By the number of notes that the viewer may read.",
            columns=("note_count",),
            field=IntegerField(),
            is_indexed=False,
        ),
    },
    default=(Term("NAME", descending=False),),
)

TAG_FILTERS = FilterSet(
    "Tag",
    Tag,
    {
        "id": IDFilter("pk", "The id of the tag.", columns=()),
        "name": StringFilter("name_folded", "The name, without regard to case and accents."),
    },
)
