"""The response cache in the admin: its figures, and a form to flush it after a confirmation.

The page needs the permission ``pcf.view_responsecache``, the form ``pcf.flush_responsecache``. When
Redis fails, the page says so and has no figures.
"""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from pcf.cache.invalidation import (
    VIEWER_NAMES,
    described,
    flush,
    flush_report,
    known_types,
    row_key_of,
    user_id_of,
)
from pcf.cache.redis_gateway import CacheUnavailable, redis_gateway
from pcf.cache.statistics import overview
from pcf.models import ResponseCache

SCOPES = (
    ("all", "Everything"),
    ("viewer", "Responses made for one viewer"),
    ("type", "Responses that depend on a type"),
)
_FOLDER = "admin/pcf/responsecache"


class FlushForm(forms.Form):
    """The form that selects the responses to remove."""

    scope = forms.ChoiceField(choices=SCOPES, widget=forms.RadioSelect, initial="all")
    viewer = forms.CharField(
        required=False,
        help_text=f"A user's id, {' or '.join(VIEWER_NAMES)}",
    )
    type = forms.ChoiceField(choices=list, required=False)
    row = forms.CharField(required=False, help_text="The id of one row, for this row alone")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        types = self.fields["type"]
        assert isinstance(types, forms.ChoiceField)  # noqa: S101
        types.choices = [("", "---------"), *((name, name) for name in known_types())]

    def clean_viewer(self) -> str:
        """Refuse what is no viewer."""
        given: str = self.cleaned_data["viewer"]
        if given and given not in VIEWER_NAMES:
            try:
                user_id_of(given)
            except LookupError as error:
                raise ValidationError(str(error)) from error
        return given

    def clean(self) -> dict[str, Any]:
        """Require the field that the chosen scope needs."""
        given = super().clean() or {}
        scope = given.get("scope")
        if scope in {"viewer", "type"} and scope not in self.errors and not given.get(scope):
            self.add_error(scope, "This scope needs a value.")
        if scope == "type" and given.get("type") and given.get("row"):
            try:
                row_key_of(given["type"], given["row"])
            except LookupError as error:
                self.add_error("row", str(error))
        return given

    def selection(self) -> dict[str, Any]:
        """Return the arguments of ``flush``; the form must be valid."""
        given = self.cleaned_data
        if given["scope"] == "viewer":
            return {"viewer": given["viewer"]}
        if given["scope"] == "type":
            return {"type_": given["type"], "key": given["row"] or None}
        return {}


@admin.register(ResponseCache)
class ResponseCacheAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    def has_add_permission(self, request: HttpRequest) -> bool:
        del request
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        del request, obj
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        del request, obj
        return False

    def get_urls(self) -> list[URLPattern]:
        """Return the URLs of the page and of its form. The model has no rows to list."""
        return [
            path("", self.admin_site.admin_view(self.page), name="pcf_responsecache_changelist"),
            path("flush/", self.admin_site.admin_view(self.flush), name="pcf_responsecache_flush"),
        ]

    def page(self, request: HttpRequest, form: FlushForm | None = None) -> HttpResponse:
        """Return the page with the hit rate, the size and, with permission, the form."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            glance = overview(redis_gateway())
        except CacheUnavailable:
            glance = None
        context = {
            "title": "Response cache",
            "glance": glance,
            "form": (form or FlushForm()) if _may_flush(request) else None,
        }
        return self._render(request, "change_list.html", context)

    def flush(self, request: HttpRequest) -> HttpResponse:
        """Ask for confirmation, then flush."""
        if not self.has_view_permission(request) or not _may_flush(request):
            raise PermissionDenied
        form = FlushForm(request.POST or None)
        if not form.is_valid():
            return self.page(request, form)
        selection = form.selection()
        if request.POST.get("confirmed") != "yes":
            context = {"title": "Are you sure?", "form": form, "what": described(**selection)}
            return self._render(request, "confirm.html", context)
        try:
            removed = flush(**selection)
        except CacheUnavailable:
            messages.error(request, "Redis does not answer. Nothing was removed.")
        else:
            messages.success(request, f"{flush_report(removed, **selection)}.")
        return HttpResponseRedirect(reverse("admin:pcf_responsecache_changelist"))

    def _render(self, request: HttpRequest, name: str, context: dict[str, Any]) -> HttpResponse:
        shared = {**self.admin_site.each_context(request), "opts": self.opts}
        return TemplateResponse(request, f"{_FOLDER}/{name}", {**shared, **context})


def _may_flush(request: HttpRequest) -> bool:
    return bool(request.user.has_perm("pcf.flush_responsecache"))
