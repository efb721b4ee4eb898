"""The response cache in the admin: how it is doing, and a way to flush it, asked twice.

Looking needs the permission ``pcf.view_responsecache``, flushing ``pcf.flush_responsecache``. When
Redis fails the page says so.
"""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from pcf.cache.flushing import NAMES, described, flush
from pcf.cache.gate import CacheUnavailable, gate
from pcf.cache.invalidation import known_types
from pcf.cache.tally import overview
from pcf.models import ResponseCache

SCOPES = (
    ("all", "Everything"),
    ("viewer", "Responses made for one viewer"),
    ("type", "Responses that depend on a type"),
)
_FOLDER = "admin/pcf/responsecache"


class FlushForm(forms.Form):
    """What is to be removed."""

    scope = forms.ChoiceField(choices=SCOPES, widget=forms.RadioSelect, initial="all")
    viewer = forms.RegexField(
        f"^([0-9]{{1,18}}|{'|'.join(NAMES)})$",
        required=False,
        help_text=f"A user's id, {' or '.join(NAMES)}",
    )
    type = forms.ChoiceField(choices=list, required=False)
    row = forms.IntegerField(required=False, min_value=1, help_text="Of this row alone")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        types = self.fields["type"]
        assert isinstance(types, forms.ChoiceField)  # noqa: S101
        types.choices = [("", "---------"), *((name, name) for name in known_types())]

    def clean(self) -> dict[str, Any]:
        """A scope comes with what it is about."""
        given = super().clean() or {}
        scope = given.get("scope")
        if scope in {"viewer", "type"} and scope not in self.errors and not given.get(scope):
            self.add_error(scope, "This is needed to flush so much and no more.")
        return given

    def what(self) -> dict[str, Any]:
        """The arguments of ``flush``; of a form that is valid."""
        given = self.cleaned_data
        if given["scope"] == "viewer":
            return {"viewer": given["viewer"]}
        return {"type_": given["type"], "key": given["row"]} if given["scope"] == "type" else {}


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
        """The page, and where its form goes; there are no rows to show."""
        return [
            path("", self.admin_site.admin_view(self.page), name="pcf_responsecache_changelist"),
            path("flush/", self.admin_site.admin_view(self.flush), name="pcf_responsecache_flush"),
        ]

    def page(self, request: HttpRequest, form: FlushForm | None = None) -> HttpResponse:
        """Hit rate, size, and the form to flush for those who may."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            glance = overview(gate())
        except CacheUnavailable:
            glance = None
        context = {
            "title": "Response cache",
            "glance": glance,
            "form": (form or FlushForm()) if _may_flush(request) else None,
        }
        return self._render(request, "change_list.html", context)

    def flush(self, request: HttpRequest) -> HttpResponse:
        """Ask whether it is meant, then flush."""
        if not self.has_view_permission(request) or not _may_flush(request):
            raise PermissionDenied
        form = FlushForm(request.POST or None)
        if not form.is_valid():
            return self.page(request, form)
        what = form.what()
        if request.POST.get("confirmed") != "yes":
            context = {"title": "Are you sure?", "form": form, "what": described(**what)}
            return self._render(request, "confirm.html", context)
        try:
            removed = flush(**what)
        except CacheUnavailable:
            messages.error(request, "Redis does not answer; nothing was removed.")
        else:
            entries = "entry" if removed == 1 else "entries"
            message = f"{removed} cached {entries} of {described(**what)} removed."
            messages.success(request, message)
        return HttpResponseRedirect(reverse("admin:pcf_responsecache_changelist"))

    def _render(self, request: HttpRequest, name: str, context: dict[str, Any]) -> HttpResponse:
        shared = {**self.admin_site.each_context(request), "opts": self.opts}
        return TemplateResponse(request, f"{_FOLDER}/{name}", {**shared, **context})


def _may_flush(request: HttpRequest) -> bool:
    return bool(request.user.has_perm("pcf.flush_responsecache"))
