"""The base class of the pages of a model, and the paginator of their lists."""

from collections.abc import Collection
from functools import cached_property
from typing import Any, Self

from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.core.paginator import Paginator
from django.db import connections, models
from django.db.models import Model, QuerySet
from django.db.models.sql.where import WhereNode
from django.http import HttpRequest

from pcf.admin.conflicts import ConflictPages
from pcf.admin.deletion import StepwiseDeletion
from pcf.admin.forms import (
    CompletedSelect,
    CompletedSelectMultiple,
    ExactCharField,
    ExactEmailField,
    LabelledChoiceField,
)

EXACT_COUNT = 10_000  # rows that a list counts exactly


class RowCount(int):
    """A number of rows that is not exact; its text says so."""

    text: str

    def __new__(cls, number: int, text: str) -> Self:
        """Return ``number``, shown as ``text``."""
        made = super().__new__(cls, number)
        made.text = text
        return made

    def __str__(self) -> str:
        return self.text


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """A paginator with bounded costs.

    A list whose conditions are in ``whole`` has no filter. Its length is PostgreSQL's estimate when
    that is above EXACT_COUNT, and the page shows it as "about". A filtered list has EXACT_COUNT
    rows at most; the page shows "more than" when there are others.
    """

    whole: Collection[Any] = ()

    @cached_property
    def count(self) -> int:
        """The number of rows, exact up to EXACT_COUNT."""
        rows = self.object_list
        if not isinstance(rows, QuerySet):
            return len(rows)
        if rows.query.where in self.whole:
            estimate = _estimate(rows.model, rows.db)
            if estimate > EXACT_COUNT:
                return RowCount(estimate, f"about {estimate:,}")
        number = rows.order_by()[: EXACT_COUNT + 1].count()
        if number > EXACT_COUNT:
            return RowCount(EXACT_COUNT, f"more than {EXACT_COUNT:,}")
        return number


def _estimate(model: type[Model], using: str) -> int:
    """Return the number of rows at the last ANALYZE; -1 before the first one."""
    with connections[using].cursor() as cursor:
        cursor.execute(
            "SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass",
            [model._meta.db_table],  # noqa: SLF001
        )
        row: Any = cursor.fetchone()
    return int(row[0])


class ModelAdmin(ConflictPages, StepwiseDeletion):
    """The pages of a model. They keep texts exact, and overwrite no change of another user.

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
        """Return the rows of a list without the filters that the user has chosen."""
        return self.get_queryset(request)

    def get_paginator(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Return the paginator of a list."""
        paginator: Any = super().get_paginator(request, *args, **kwargs)
        paginator.whole = (WhereNode(), self.whole_list(request).query.where)
        return paginator

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Return the address's values for a new row, without values that no column can hold."""
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
