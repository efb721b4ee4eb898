"""Conflicts: a row that was changed while its form was open.

The page of a row holds a fingerprint of each value that the form shows, in the hidden field
``_shown``. The answer to the form locks the row and compares these fingerprints with the row. When
a value is another one, nothing is saved. The page then shows both versions, takes over the stored
values of the fields that nobody has edited in the form, and keeps the edited ones. A second press
of "Save" saves the page as it is. A request without ``_shown`` is saved as it is.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from hashlib import sha256
from http import HTTPStatus
from typing import Any, NamedTuple

from django import forms
from django.contrib import admin
from django.contrib.admin.options import TO_FIELD_VAR
from django.contrib.admin.utils import unquote
from django.core.exceptions import ValidationError
from django.db import router, transaction
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from pcf.admin.forms import ExactCharField

SHOWN = "_shown"  # name of the hidden field
_DIGITS = 16  # of a fingerprint
_NOTHING = "(nothing)"


class Difference(NamedTuple):
    """A field whose stored value has changed since the form was opened.

    ``stored`` and ``typed`` are texts for people. ``edited`` says whether the form changed the
    field, too.
    """

    name: str
    label: str
    stored: str
    typed: str
    edited: bool


class StoredForm(forms.ModelForm):  # type: ignore[type-arg]
    """A form of a model that keeps texts (``pcf.admin.forms``) and finds conflicts."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.differences: list[Difference] = []
        if self.instance.pk is not None:
            for name, field in self.fields.items():
                if isinstance(field, ExactCharField) and not field.disabled:
                    field.show(self.initial.get(name), self.data.get(self.add_prefix(name)))

    @property
    def shown(self) -> str:
        """The fingerprints of the stored values, as JSON; "" for a new row."""
        if self.instance.pk is None:
            return ""
        return json.dumps({name: self._fingerprint(name) for name in self._compared()})

    def clean(self) -> dict[str, Any] | None:
        """Raise ValidationError when the row has changed since the form was opened."""
        cleaned = super().clean()
        self._keep_times()
        shown = self._fingerprints_of_request()
        changed = [
            name
            for name in self._compared()
            if self.instance.pk is not None
            and name in shown
            and shown[name] != self._fingerprint(name)
        ]
        found = [self._difference(name, shown[name]) for name in changed]
        self.differences = [one for one in found if one is not None]
        if self.differences:
            self._take_over([one.name for one in self.differences if not one.edited])
            what = self.instance._meta.verbose_name  # noqa: SLF001
            raise ValidationError(
                f"Somebody else has changed this {what} since you opened this page. Nothing is "
                "saved yet.",
                code="conflict",
            )
        return cleaned

    def _keep_times(self) -> None:
        """Keep the microseconds of stored times, which the form does not show."""
        for name in set(self.cleaned_data) - set(self.changed_data):
            if isinstance(self.initial.get(name), datetime):
                self.cleaned_data[name] = self.initial[name]

    def _compared(self) -> list[str]:
        return [name for name, field in self.fields.items() if not field.disabled]

    def _fingerprints_of_request(self) -> Mapping[str, Any]:
        try:
            shown = json.loads(self.data.get(SHOWN) or "{}")
        except ValueError:
            return {}
        return shown if isinstance(shown, dict) else {}

    def _stored(self, name: str) -> Any:
        return self.get_initial_for_field(self.fields[name], name)

    def _fingerprint(self, name: str) -> str:
        return fingerprint(self.fields[name], self._stored(name))

    def _difference(self, name: str, shown: str) -> Difference | None:
        """Return the difference of a field, None when the request has the stored value."""
        field, stored = self.fields[name], self._stored(name)
        if name in self.cleaned_data:
            value = self.cleaned_data[name]
            typed, digest = _displayed(field, value), fingerprint(field, value)
            if digest == fingerprint(field, stored):
                return None
        else:
            raw = self[name].data
            typed, digest = ("" if raw is None else str(raw)), ""
        label = str(self[name].label)
        return Difference(name, label, _displayed(field, stored), typed, edited=digest != shown)

    def _take_over(self, names: list[str]) -> None:
        """Put the stored values of fields into the data, from which the page is made."""
        given: Any = self.data
        data = given.copy()
        for name in names:
            field, key = self.fields[name], self.add_prefix(name)
            value = field.prepare_value(self._stored(name))
            widget: Any = field.widget
            if hasattr(widget, "widgets_names"):  # forms.MultiWidget
                parts = widget.decompress(value)
                for suffix, part in zip(widget.widgets_names, parts, strict=True):
                    data[key + suffix] = "" if part is None else str(part)
            elif isinstance(field, forms.BooleanField):
                data.pop(key, None)
                if value:
                    data[key] = "on"
            elif isinstance(value, list | tuple):
                data.setlist(key, [str(item) for item in value])
            else:
                data[key] = "" if value is None else str(value)
        self.data = data


def fingerprint(field: forms.Field, value: Any) -> str:
    """Return a text that two values of ``field`` share if and only if the form shows them alike."""
    shown = field.prepare_value(value)
    if isinstance(field, ExactCharField):
        shown = field.to_python(shown)
    if not isinstance(shown, str) and isinstance(shown, Iterable):
        shown = sorted(str(item) for item in shown)
    return sha256(f"{'' if shown is None else shown}".encode()).hexdigest()[:_DIGITS]


def _displayed(field: forms.Field, value: Any) -> str:
    """Return a value of ``field`` as text for people."""
    if isinstance(field, forms.ModelChoiceField):
        keys = field.prepare_value(value)
        keys = list(keys) if isinstance(keys, list | tuple) else [keys]
        all_rows: Any = field.queryset
        rows = all_rows.filter(pk__in=[key for key in keys if key not in {None, ""}])
        return ", ".join(str(field.label_from_instance(row)) for row in rows) or _NOTHING
    if isinstance(value, bool):
        return "Yes" if value else "No"
    return _NOTHING if value is None else str(value)


class ConflictPages(admin.ModelAdmin):  # type: ignore[type-arg]
    """The pages of a model whose form is a StoredForm."""

    form = StoredForm

    change_form_template = "admin/pcf/change_form.html"

    def get_object(self, request: HttpRequest, object_id: str, from_field: Any = None) -> Any:
        """Return the row or None. A transaction that answers a POST request locks the row."""
        found = super().get_object(request, object_id, from_field)
        database = router.db_for_write(self.opts.model)
        locks = transaction.get_connection(database).in_atomic_block
        if found is None or request.method != "POST" or not locks:
            return found
        rows = self.get_queryset(request).using(database)
        return rows.select_for_update(of=("self",)).filter(pk=found.pk).first()

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: Any = None,
    ) -> HttpResponse:
        """Return Django's page. A form of a deleted row gets a page with what was typed."""
        with transaction.atomic(using=router.db_for_write(self.opts.model)):
            if object_id is not None and self._is_gone(request, object_id):
                return self._gone(request)
            return super().changeform_view(request, object_id, form_url, extra_context)

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Return the page, with the status 409 when it shows a conflict."""
        form = context["adminform"].form
        context["differences"] = getattr(form, "differences", [])
        context["shown"] = getattr(form, "shown", "")
        response: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        if context["differences"]:
            response.status_code = HTTPStatus.CONFLICT
        return response

    def is_gone(self, row: Any) -> bool:
        """Return whether ``row``, which is None or the stored row, can no longer be edited."""
        return row is None

    def _is_gone(self, request: HttpRequest, object_id: str) -> bool:
        """Return whether the request is a form of a row that does not exist, and lock the row."""
        by_key = TO_FIELD_VAR not in request.GET and TO_FIELD_VAR not in request.POST
        allowed = self.has_view_or_change_permission
        return (
            request.method == "POST"
            and by_key
            and allowed(request)
            and self.is_gone(self.get_object(request, unquote(object_id)))
        )

    def _gone(self, request: HttpRequest) -> HttpResponse:
        typed = [
            (name, "\n".join(map(str, values)))
            for name, values in request.POST.lists()
            if not name.startswith("_") and name != "csrfmiddlewaretoken"
        ]
        context = {
            **self.admin_site.each_context(request),
            "title": f"This {self.opts.verbose_name} does not exist any more",
            "opts": self.opts,
            "typed": typed,
            "may_add": self.has_add_permission(request),
        }
        return TemplateResponse(
            request, "admin/pcf/gone.html", context, status=HTTPStatus.NOT_FOUND
        )
