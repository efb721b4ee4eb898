"""The admin of notes. The policy decides who may see and change which note."""

from collections.abc import Iterator, Sequence
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from notes import policy
from notes.models import Note
from pcf.admin.conflicts import StoredForm
from pcf.admin.deletion import Work
from pcf.admin.forms import CompletedSelectMultiple
from pcf.admin.model_admin import ModelAdmin
from pcf.admin.site import label_of
from pcf.database.deletion import change_in_steps
from pcf.viewer import Viewer
from tags.models import Tag
from users.models import User

TAGS_IN_FILTER = 30
IN_TRASH = "yes"  # value of the parameter "trash"
MAX_DIGITS = 19  # the largest bigint has 19 digits, so any number with fewer fits


class NoteForm(StoredForm):
    """The form of a note with its author and tags.

    The API cannot change the author. Django makes no field for tags with a through model.
    ``may_add_tags`` offers a form of a new tag in a window of its own.
    """

    may_add_tags = False

    tag_names = forms.ModelMultipleChoiceField(
        Tag.objects.all(),
        label="Tags",
        required=False,
        widget=CompletedSelectMultiple(Note._meta.get_field("tags"), admin.site),  # noqa: SLF001
    )

    class Meta:
        """The fields of the form."""

        model = Note
        fields = ("title", "content", "author", "is_public")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None:
            self.initial["tag_names"] = list(self.instance.tags.all())
        tags = self.fields["tag_names"]
        relation: Any = Note._meta.get_field("tags").remote_field  # noqa: SLF001
        tags.widget = RelatedFieldWidgetWrapper(
            tags.widget, relation, admin.site, can_add_related=self.may_add_tags
        )


def is_key(text: str) -> bool:
    """Return whether ``text`` can be a primary key, a positive bigint."""
    return text.isascii() and text.isdigit() and len(text) < MAX_DIGITS


class ChosenFilter(admin.SimpleListFilter):
    """A filter by one related row. A link selects the row; without it the filter is hidden."""

    model: type[Model]
    lookup: str

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        del request
        key = self.value()
        if key is None or not is_key(key):
            return []
        return [
            (key, label_of(model_admin.admin_site.get_model_admin(self.model), row))
            for row in self.model._base_manager.filter(pk=key)  # noqa: SLF001
        ]

    def has_output(self) -> bool:
        # Django ignores a filter without output; an unknown row would then list every note
        return self.value() is not None or super().has_output()

    def queryset(self, request: HttpRequest, queryset: QuerySet[Note]) -> QuerySet[Note]:
        del request
        value = self.value()
        if value is None:
            return queryset
        return queryset.filter(**{self.lookup: value}) if is_key(value) else queryset.none()


class TrashFilter(admin.SimpleListFilter):
    """A filter that shows either the trash, or all notes outside of it."""

    title = "trash"
    parameter_name = "trash"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        del request, model_admin
        return [(IN_TRASH, "In the trash")]

    def choices(self, changelist: Any) -> Any:
        first, *others = super().choices(changelist)
        return [{**first, "display": "Not in the trash"}, *others]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Note]) -> QuerySet[Note]:
        del request
        chosen = policy.IN_TRASH if self.value() == IN_TRASH else policy.LISTED
        return queryset.filter(chosen)


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


def _move(pages: Any, request: HttpRequest, rows: QuerySet[Note]) -> Iterator[int]:
    """Move notes to the trash in steps, with an entry in the history of each."""

    def change(notes: Sequence[Note]) -> None:
        _update(notes, deleted_at=timezone.now())
        _log(request, notes, DELETION, "Moved to the trash.")

    del pages
    return change_in_steps(rows.filter(policy.LISTED), change)


def _restore(pages: Any, request: HttpRequest, rows: QuerySet[Note]) -> Iterator[int]:
    """Take notes out of the trash in steps, with an entry in the history of each."""

    def change(notes: Sequence[Note]) -> None:
        _update(notes, deleted_at=None)
        _log(request, notes, CHANGE, "Restored.")

    del pages
    return change_in_steps(rows.filter(policy.IN_TRASH), change)


def _update(notes: Sequence[Note], **values: Any) -> None:
    Note.objects.filter(pk__in=[note.pk for note in notes]).update(**values)


def _log(request: HttpRequest, notes: Sequence[Note], flag: int, message: str) -> None:
    LogEntry.objects.log_actions(request.user.pk or 0, notes, flag, change_message=message)


MOVE = Work(
    _move,
    title="Move to the trash",
    question="Move the selected notes to the trash? They can be restored there.",
    doing="Moved",
    done="Moved to the trash:",
    cascades=False,
)
RESTORATION = Work(
    _restore,
    title="Restore",
    question="Take the selected notes out of the trash?",
    doing="Restored",
    done="Restored",
    cascades=False,
)


class NoteChangeList(ChangeList):
    """A page of notes, loaded without their contents."""

    def get_queryset(self, *args: Any, **kwargs: Any) -> Any:
        columns = ("title", "is_public", "created_at", "updated_at")
        author = ("author__username", "author__name")
        notes = super().get_queryset(*args, **kwargs)
        return notes.only(*columns, *author).prefetch_related("tags")


@admin.register(Note)
class NoteAdmin(ModelAdmin):
    form = NoteForm
    fields = (
        "title", "content", "author", "is_public", "tag_names", "created_at", "updated_at",
        "version",
    )  # fmt: skip
    readonly_fields = ("created_at", "updated_at", "version", "deleted_at", "tag_list")
    autocomplete_fields = ("author",)
    # a new column also goes into NoteChangeList, which loads no others
    list_display = ("id", "title", "author", "is_public", "tag_list", "created_at", "updated_at")
    list_display_links = ("id", "title")
    list_filter = (TrashFilter, "is_public", AuthorFilter, TagFilter, "created_at")
    list_select_related = ("author",)
    search_fields = ("title", "=author__username")
    search_help_text = "Words of the title, or an author's user name"
    ordering = ("-id",)
    sortable_by = ("id",)  # the column with an index
    deletion_columns = ("title",)
    actions = ("move_to_trash", "restore", "delete_selected")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        del request, kwargs
        return NoteChangeList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Note]:
        """Return the notes that the viewer may read or restore; TrashFilter shows one kind."""
        viewer = _viewer(request)
        shown = policy.visible_notes(viewer) | policy.restorable_notes(viewer)
        return super().get_queryset(request).filter(shown)

    def whole_list(self, request: HttpRequest) -> QuerySet[Note]:
        return self.get_queryset(request).filter(policy.LISTED)

    def get_fields(self, request: HttpRequest, obj: Note | None = None) -> Any:
        """Return the fields; a note in the trash cannot be edited, so it needs no choice of tags."""  # noqa: E501
        fields = super().get_fields(request, obj)
        if obj is None or obj.deleted_at is None:
            return fields
        return ["tag_list" if name == "tag_names" else name for name in (*fields, "deleted_at")]

    def is_gone(self, row: Any) -> bool:
        return row is None or row.deleted_at is not None

    def get_actions(self, request: HttpRequest) -> Any:
        actions = super().get_actions(request)
        absent = (
            ("move_to_trash",)
            if request.GET.get(TrashFilter.parameter_name) == IN_TRASH
            else ("restore", "delete_selected")
        )
        return {name: action for name, action in actions.items() if name not in absent}

    @admin.action(permissions=["delete"], description="Move selected notes to the trash")
    def move_to_trash(self, request: HttpRequest, queryset: QuerySet[Note]) -> Any:
        """Ask for confirmation, then move the selected notes to the trash in steps."""
        return self.work_on(request, queryset.filter(policy.LISTED), "move_to_trash", MOVE)

    @admin.action(permissions=["delete"], description="Restore selected notes")
    def restore(self, request: HttpRequest, queryset: QuerySet[Note]) -> Any:
        """Ask for confirmation, then take the selected notes out of the trash in steps."""
        return self.work_on(request, queryset.filter(policy.IN_TRASH), "restore", RESTORATION)

    @admin.action(permissions=["delete"], description="Delete selected notes for ever")
    def delete_selected(self, request: HttpRequest, queryset: QuerySet[Note]) -> Any:
        """Ask for confirmation, then delete the selected notes of the trash in steps."""
        return super().delete_selected(request, queryset.filter(policy.IN_TRASH))

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponse:
        """Move a note to the trash, or delete a note in the trash for ever, after a question."""
        note: Any = self.get_object(request, unquote(object_id))
        if note is None or note.deleted_at is not None:
            return super().delete_view(request, object_id, extra_context)
        if not self.has_delete_permission(request, note):
            raise PermissionDenied
        if request.method != "POST":
            context = {
                **self.admin_site.each_context(request),
                "title": MOVE.title, "opts": self.opts, "object": note,
            }  # fmt: skip
            return TemplateResponse(request, "admin/notes/note/move_to_trash.html", context)
        for _ in MOVE.steps(self, request, Note.objects.filter(policy.LISTED, pk=note.pk)):
            pass
        self.message_user(request, f"“{note}” is in the trash now.", messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:notes_note_changelist"))

    def get_form(
        self, request: HttpRequest, obj: Note | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        tags = self.admin_site.get_model_admin(Tag)
        form.may_add_tags = tags.has_add_permission(request)
        return form

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
        if obj is None:
            return viewer.is_staff
        return policy.may_read(viewer, obj) or policy.may_restore(viewer, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return _viewer(
            request
        ).is_staff  # staff may add notes of any author, as they may edit any note

    def has_change_permission(self, request: HttpRequest, obj: Note | None = None) -> bool:
        viewer = _viewer(request)
        if obj is None:
            return viewer.is_staff
        return obj.deleted_at is None and policy.may_write(viewer, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Note | None = None) -> bool:
        viewer = _viewer(request)
        return viewer.is_staff if obj is None else policy.may_write(viewer, obj)


def _viewer(request: HttpRequest) -> Viewer:
    return Viewer(request.user.pk, bool(request.user.is_active and request.user.is_staff))
