"""The site of the admin: it refuses values that no page can use, and labels rows in completions.

``pcf.apps.AdminConfig`` makes it Django's default site.
"""

import logging
from collections.abc import Callable
from functools import update_wrapper
from http import HTTPStatus
from typing import Any

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import TO_FIELD_VAR
from django.contrib.admin.views.autocomplete import AutocompleteJsonView
from django.core.exceptions import ValidationError
from django.db import DataError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse

logger = logging.getLogger("pcf.admin")

NUL = "\x00"  # PostgreSQL's texts cannot hold it


def label_of(model_admin: Any, row: Any) -> str:
    """Return the text by which people tell ``row`` from others.

    The pages of its model can have a method ``label_of``; without one the text is ``str(row)``.
    """
    label: Callable[[Any], str] = getattr(model_admin, "label_of", str)
    return label(row)


class LabelledAutocompleteView(AutocompleteJsonView):
    """Django's view of completions, with the labels of the rows."""

    def serialize_result(self, obj: Any, to_field_name: str) -> dict[str, str]:
        """Return the key and the label of a row."""
        return {
            **super().serialize_result(obj, to_field_name),
            "text": label_of(self.model_admin, obj),
        }


class AdminSite(admin.AdminSite):
    """Django's site. It answers 400 to values that would be server errors in Django's pages."""

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """Return Django's view, which refuses hostile values behind the check of permissions."""

        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            reason = refusal_of(request, getattr(view, "__self__", None))
            if reason is None:
                try:
                    response: HttpResponseBase = view(request, *args, **kwargs)
                except (ValueError, TypeError, ValidationError, DataError):
                    if not _is_filtered_list(request, view):
                        raise
                    logger.warning("a filter of the admin failed", exc_info=True)
                    reason = "A filter has a value that its column cannot have."
                else:
                    return response
            context = {**self.each_context(request), "title": "Bad request", "reason": reason}
            return TemplateResponse(
                request, "admin/pcf/refused.html", context, status=HTTPStatus.BAD_REQUEST
            )

        return super().admin_view(update_wrapper(checked, view), cacheable)

    def autocomplete_view(self, request: HttpRequest) -> HttpResponse:
        """Return the rows that match a term, as JSON."""
        view: Any = LabelledAutocompleteView.as_view(admin_site=self)
        response: HttpResponse = view(request)
        return response


def refusal_of(request: HttpRequest, model_admin: Any) -> str | None:
    """Return why the request cannot be answered; None when it can.

    ``model_admin`` has the pages that answer, or is another object. Forms check their own fields.
    """
    parameters = (text for name, values in request.GET.lists() for text in (name, *values))
    if any(NUL in text for text in (request.path, *parameters)):
        return "The address contains the character NUL."
    if "" in {*request.GET.getlist(TO_FIELD_VAR), *request.POST.getlist(TO_FIELD_VAR)}:
        return f"{TO_FIELD_VAR} names no field."
    if request.method == "POST" and isinstance(model_admin, admin.ModelAdmin):
        key = model_admin.opts.pk
        for value in request.POST.getlist(ACTION_CHECKBOX_NAME):
            if not is_key(key, value):
                return "A selected row has an id that no row can have."
    return None


def _is_filtered_list(request: HttpRequest, view: Any) -> bool:
    """Return whether a list has parameters. Django checks some of them in PostgreSQL alone."""
    is_list = getattr(view, "__name__", "") == "changelist_view"
    return is_list and request.method == "GET" and bool(request.GET)


def is_key(field: Any, value: Any) -> bool:
    """Return whether ``value`` can be a value of the key ``field``."""
    try:
        field.to_python(value)
    except (ValidationError, ValueError, TypeError):
        return False
    return NUL not in str(value)
