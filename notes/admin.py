"""The admin of notes. The policy decides who may see and change which note."""

from functools import cached_property
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.contrib.admin.widgets import AutocompleteSelectMultiple
from django.core.paginator import Paginator
from django.db import connections
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from notes import policy
from notes.models import Note
from pcf.viewer import Viewer
from tags.models import Tag
from users.models import User

EXACT_COUNT = 10_000  # rows that a list counts exactly
TAGS_IN_FILTER = 30
MAX_DIGITS = 19  # the largest bigint has 19 digits, so any number with fewer fits


_ALL_LISTED = Note.objects.filter(policy.LISTED)


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """A paginator for a table with millions of rows, whose exact count would take seconds.

    A list of all notes outside of the trash has PostgreSQL's estimate for the table as its length
    if that is above EXACT_COUNT. A filtered list shows EXACT_COUNT rows at most.
    """

    @cached_property
    def count(self) -> int:
        """The number of rows, exact up to EXACT_COUNT."""
        rows = self.object_list
        if not isinstance(rows, QuerySet):
            return len(rows)
        if rows.query.where in (Note.objects.all().query.where, _ALL_LISTED.query.where):
            estimate = self._estimate(rows.model, rows.db)
            if estimate > EXACT_COUNT:
                return estimate
        return rows.order_by()[:EXACT_COUNT].count()

    @staticmethod
    def _estimate(model: type[Model], using: str) -> int:
        """Return the number of rows at the last ANALYZE; -1 before the first one."""
        with connections[using].cursor() as cursor:
            cursor.execute(
                "SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass",
                [model._meta.db_table],  # noqa: SLF001 (Django's documented name)
            )
            (estimate,) = cursor.fetchone()
        return int(estimate)


class NoteForm(forms.ModelForm):  # type: ignore[type-arg]
    """The form of a note with its author and tags.

    The API cannot change the author. Django makes no field for tags with a through model.
    """

    tag_names = forms.ModelMultipleChoiceField(
        Tag.objects.all(),
        label="Tags",
        required=False,
        widget=AutocompleteSelectMultiple(Note._meta.get_field("tags"), admin.site),  # noqa: SLF001
    )

    class Meta:
        """The fields of the form."""

        model = Note
        fields = ("title", "content", "author", "is_public")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None:
            self.initial["tag_names"] = list(self.instance.tags.all())


def is_key(text: str) -> bool:
    """Return whether ``text`` can be a primary key, a positive bigint."""
    return text.isascii() and text.isdigit() and len(text) < MAX_DIGITS


class ChosenFilter(admin.SimpleListFilter):
    """A filter by one related row. A link selects the row; without it the filter is hidden."""

    model: type[Model]
    lookup: str

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        del request, model_admin
        key = self.value()
        if key is None or not is_key(key):
            return []
        return [(key, str(row)) for row in self.model._base_manager.filter(pk=key)]  # noqa: SLF001

    def has_output(self) -> bool:
        # Django ignores a filter without output; an unknown row would then list every note
        return self.value() is not None or super().has_output()

    def queryset(self, request: HttpRequest, queryset: QuerySet[Note]) -> QuerySet[Note]:
        del request
        value = self.value()
        if value is None:
            return queryset
        return queryset.filter(**{self.lookup: value}) if is_key(value) else queryset.none()


class AuthorFilter(ChosenFilter):
    title = "author"
    parameter_name = "author"
    lookup = "author"
    model = User


class TagFilter(ChosenFilter):
    """A filter that offers the first tags by name, and the selected one."""

    title = "tag"
    parameter_name = "tag"
    lookup = "notetag__tag"
    model = Tag

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        first = [(str(tag.pk), tag.name) for tag in Tag.objects.order_by("name")[:TAGS_IN_FILTER]]
        chosen = super().lookups(request, model_admin)
        return [*first, *(choice for choice in chosen if choice not in first)]


class NoteChangeList(ChangeList):
    """A page of notes, loaded without their contents."""

    def get_queryset(self, *args: Any, **kwargs: Any) -> Any:
        columns = ("title", "is_public", "created_at", "updated_at")
        author = ("author__username", "author__name")
        notes = super().get_queryset(*args, **kwargs)
        return notes.only(*columns, *author).prefetch_related("tags")


@admin.register(Note)
class NoteAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    form = NoteForm
    fields = (
        "title", "content", "author", "is_public", "tag_names", "created_at", "updated_at"
    )  # fmt: skip
    readonly_fields = ("created_at", "updated_at")
    autocomplete_fields = ("author",)
    list_display = ("id", "title", "author", "is_public", "tag_list", "created_at", "updated_at")
    list_display_links = ("id", "title")
    list_filter = ("is_public", AuthorFilter, TagFilter, "created_at")
    list_select_related = ("author",)
    search_fields = ("title", "=author__username")
    search_help_text = "Words of the title, or an author's user name"
    ordering = ("-id",)
    sortable_by = ("id",)  # the column with an index
    show_full_result_count = False
    paginator = BoundedPaginator

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        del request, kwargs
        return NoteChangeList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Note]:
        visible = policy.visible_notes(_viewer(request))
        return super().get_queryset(request).filter(visible)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        form.instance.tags.set(form.cleaned_data["tag_names"])

    @admin.display(description="tags")
    def tag_list(self, note: Note) -> str:
        """Return a note's tags as text."""
        return ", ".join(tag.name for tag in note.tags.all())

    def has_module_permission(self, request: HttpRequest) -> bool:
        return _viewer(request).is_staff

    def has_view_permission(self, request: HttpRequest, obj: Note | None = None) -> bool:
        viewer = _viewer(request)
        return viewer.is_staff if obj is None else policy.may_read(viewer, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return _viewer(
            request
        ).is_staff  # staff may add notes of any author, as they may edit any note

    def has_change_permission(self, request: HttpRequest, obj: Note | None = None) -> bool:
        viewer = _viewer(request)
        return viewer.is_staff if obj is None else policy.may_write(viewer, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Note | None = None) -> bool:
        return self.has_change_permission(request, obj)


def _viewer(request: HttpRequest) -> Viewer:
    return Viewer(request.user.pk, bool(request.user.is_active and request.user.is_staff))
