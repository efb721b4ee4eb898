"""The base class of the pages of a model."""

from typing import Any

from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import models
from django.db.models import QuerySet
from django.db.models.sql.where import WhereNode
from django.forms import ModelChoiceField
from django.http import HttpRequest

from pcf.admin.conflicts import ConflictPages
from pcf.admin.deletion import StepwiseDeletion
from pcf.admin.fields import ExactCharField, ExactEmailField
from pcf.admin.paginator import BoundedPaginator
from pcf.admin.site import label_of
from pcf.admin.widgets import CompletedSelect, CompletedSelectMultiple


class LabelledChoiceField(ModelChoiceField):  # type: ignore[type-arg]
    """A field that shows rows with the labels of completions."""

    pages: Any = None

    def label_from_instance(self, obj: Any) -> str:
        """Return the label of a row."""
        return label_of(self.pages, obj)


class ModelAdmin(ConflictPages, StepwiseDeletion):
    """The pages of a model: they keep texts, and what others have written.

    The form of such pages must be a StoredForm.
    """

    show_full_result_count = False
    paginator = BoundedPaginator
    formfield_overrides = {
        models.CharField: {"form_class": ExactCharField},
        models.TextField: {"form_class": ExactCharField},
        models.EmailField: {"form_class": ExactEmailField},
    }

    def whole_list(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the rows of a list without a filter that somebody has chosen."""
        return self.get_queryset(request)

    def get_paginator(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Return the paginator of a list."""
        paginator: Any = super().get_paginator(request, *args, **kwargs)
        paginator.whole = (WhereNode(), self.whole_list(request).query.where)
        return paginator

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Return the values of the address for a new row, without those that no column can have."""
        initial = {}
        for name, value in super().get_changeform_initial_data(request).items():
            try:
                field: Any = self.opts.get_field(name)
                is_column = bool(field.concrete and not field.many_to_many)
                initial[name] = field.to_python(value) if is_column else value
            except FieldDoesNotExist:
                initial[name] = value
            except (ValidationError, ValueError):
                continue
        return initial

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Return Django's field; one with completions labels its rows as the completions do."""
        names = self.get_autocomplete_fields(request)
        if db_field.name not in names:
            return super().formfield_for_foreignkey(db_field, request, **kwargs)
        kwargs["widget"] = CompletedSelect(db_field, self.admin_site, using=kwargs.get("using"))
        kwargs["form_class"] = LabelledChoiceField
        field: Any = super().formfield_for_foreignkey(db_field, request, **kwargs)
        field.pages = self.admin_site.get_model_admin(db_field.remote_field.model)
        return field

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Return Django's field, whose widget ignores what is no key."""
        if db_field.name in self.get_autocomplete_fields(request):
            kwargs["widget"] = CompletedSelectMultiple(
                db_field, self.admin_site, using=kwargs.get("using")
            )
        return super().formfield_for_manytomany(db_field, request, **kwargs)
