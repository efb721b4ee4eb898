"""The admin of tags. The policy lets staff edit them."""

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from pcf.admin.model_admin import ModelAdmin
from pcf.viewer import Viewer
from tags import policy
from tags.models import Tag


class TagChangeList(ChangeList):
    """A page of tags with their numbers of notes, counted for the rows of the page only."""

    def get_queryset(self, *args: Any, **kwargs: Any) -> Any:
        # Count("*") counts rows, so that PostgreSQL can answer from an index alone
        counts = (
            apps.get_model("notes", "NoteTag")
            .objects.filter(tag=OuterRef("pk"))
            .order_by()
            .values("tag")
            .annotate(count=Count("*"))
            .values("count")
        )
        tags = super().get_queryset(*args, **kwargs)
        return tags.annotate(note_count=Coalesce(Subquery(counts), 0))


@admin.register(Tag)
class TagAdmin(ModelAdmin):
    list_display = ("name", "notes_link")
    search_fields = ("name",)
    ordering = ("name",)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        del request, kwargs
        return TagChangeList

    @admin.display(description="notes")
    def notes_link(self, tag: Any) -> str:
        """Return the number of notes with a tag, as a link to them."""
        url = reverse("admin:notes_note_changelist", query={"tag": tag.pk})
        return format_html('<a href="{}">{}</a>', url, tag.note_count)

    def names_of(self, rows: QuerySet[Any]) -> list[str]:
        """Return a few names, and how many notes lose a tag."""
        names = super().names_of(rows)
        links = apps.get_model("notes", "NoteTag").objects.filter(tag__in=rows.values("pk")).count()
        if len(names) == 1:
            return [f"{names[0]} (removed from {links:,} notes)"]
        return [*names, f"(removed from notes {links:,} times)"]

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self._may_edit(request)

    def has_view_permission(self, request: HttpRequest, obj: Tag | None = None) -> bool:
        del obj
        return self._may_edit(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self._may_edit(request)

    def has_change_permission(self, request: HttpRequest, obj: Tag | None = None) -> bool:
        del obj
        return self._may_edit(request)

    def has_delete_permission(self, request: HttpRequest, obj: Tag | None = None) -> bool:
        del obj
        return self._may_edit(request)

    @staticmethod
    def _may_edit(request: HttpRequest) -> bool:
        user = request.user
        return policy.may_edit_tags(Viewer(user.pk, bool(user.is_active and user.is_staff)))
