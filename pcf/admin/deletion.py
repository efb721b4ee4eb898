"""Deletion in the admin: pages with numbers instead of lists, and bounded steps with progress.

A request deletes rows for SECONDS at most, in steps that are transactions of their own
(``pcf.database.deletion``). While rows are left, it answers with a page of progress, which sends
the next request by itself. A person who leaves this page ends the deletion after the current step.
The same deletion again continues where it ended.
"""

from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import Any, NamedTuple

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IS_POPUP_VAR, TO_FIELD_VAR
from django.contrib.admin.utils import model_ngettext, unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from pcf.admin.site import is_key
from pcf.database import deletion

SECONDS = 2.0  # in which a request begins steps
MAX_DIGITS = 19
NAMED = 10  # rows that the page of confirmation names


class Work(NamedTuple):
    """Work on rows in steps.

    ``steps`` gets the pages of the model, the request and the rows; it yields the number of rows of
    each step. With ``cascades`` the work reaches rows of other models, too. The texts are parts of the pages.
    """  # noqa: E501

    steps: Callable[["StepwiseDeletion", HttpRequest, QuerySet[Any]], Iterator[int]]
    title: str
    question: str
    doing: str
    done: str
    cascades: bool = True

    def reach(self, rows: QuerySet[Any]) -> dict[type[Model], int]:
        """Return how many rows of each model the work reaches."""
        return deletion.count_rows(rows) if self.cascades else {rows.model: rows.count()}


def _delete(pages: Any, request: HttpRequest, rows: QuerySet[Any]) -> Iterator[int]:
    def watch(found: Sequence[Any]) -> None:
        pages.log_deletions(request, found)

    return deletion.delete_in_steps(rows, watch=watch)


DELETION = Work(
    _delete,
    title="Delete for ever",
    question="Are you sure you want to delete the selected rows? These rows are deleted:",
    doing="Deleted",
    done="Successfully deleted",
)


class StepwiseDeletion(admin.ModelAdmin):  # type: ignore[type-arg]
    """The pages of a model whose rows are deleted in steps."""

    deletion_columns: tuple[str, ...] = ()  # that the names of rows need; () for all
    delete_confirmation_template = "admin/pcf/delete_confirmation.html"
    actions: Any = ("delete_selected",)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Return a few names, the number of rows of each model, and what forbids the deletion."""
        rows = self._rows(objs)
        numbers = _shown(deletion.count_rows(rows))
        missing = self._missing(request, rows, DELETION)
        return self.names_of(rows), numbers, missing, self._protected(rows)

    def may_delete_rows(self, request: HttpRequest, rows: QuerySet[Any]) -> bool:
        """Return whether the request may delete all of ``rows``."""
        del rows
        return bool(self.has_delete_permission(request))

    def begin_deletion(self, request: HttpRequest, rows: QuerySet[Any]) -> None:
        """Prepare ``rows`` for their deletion, before its first step; does nothing by itself."""

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponse:
        """Return Django's page of confirmation, or delete the row in steps."""
        row: Any = self.get_object(request, unquote(object_id))
        confirmed = request.method == "POST" and row is not None
        if not confirmed or TO_FIELD_VAR in request.POST or TO_FIELD_VAR in request.GET:
            return super().delete_view(request, object_id, extra_context)
        if not self.has_delete_permission(request, row):
            raise PermissionDenied
        name, key = str(row), row.pk
        progress = self._work(request, self._rows([row]), DELETION, {})
        return progress or self.response_delete(request, name, key)

    @admin.action(permissions=["delete"], description="Delete selected %(verbose_name_plural)s")
    def delete_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        """Ask for confirmation, then delete the selected rows in steps."""
        return self.work_on(request, queryset, "delete_selected", DELETION)

    def work_on(
        self, request: HttpRequest, queryset: QuerySet[Any], action: str, work: Work
    ) -> HttpResponse | None:
        """Ask for confirmation, then do ``work`` in steps; None when it is done.

        ``action`` is the name of the action that calls this method. For all rows of a list, the
        form has the largest key at the time of the confirmation (``until``). Rows with larger keys
        stay as they are.
        """
        rows, form = self._rows(queryset), {}
        if request.POST.get("select_across", "0") not in {"", "0"}:
            until: Any = request.POST.get("until", "")
            if not is_key(self.opts.pk, until) or not until:
                until = rows.order_by("-pk").values_list("pk", flat=True).first()
            if until is None:  # the list is empty
                return None
            rows = rows.filter(pk__lte=until)
            form = {"select_across": "1", "until": str(until), ACTION_CHECKBOX_NAME: [str(until)]}
        else:
            form = {ACTION_CHECKBOX_NAME: request.POST.getlist(ACTION_CHECKBOX_NAME)}
        form["action"] = action
        if not request.POST.get("post"):
            return self._confirmation(request, rows, work, form)
        number = _number(request, "rows") or rows.count()
        progress = self._work(request, rows, work, form)
        if progress is None:
            what = model_ngettext(self.opts, number)
            self.message_user(request, f"{work.done} {number:,} {what}.", messages.SUCCESS)
        return progress

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Delete a row in steps, however long it takes."""
        self.delete_queryset(request, self._rows([obj]))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Delete the rows of ``queryset`` in steps, however long it takes."""
        del request
        for _ in deletion.delete_in_steps(self._rows(queryset)):
            pass

    def _rows(self, rows: Any) -> QuerySet[Any]:
        """Return a query set without joins for rows or a query set."""
        if isinstance(rows, QuerySet):
            keys: Any = rows.order_by().values("pk")
        else:
            keys = [row.pk for row in rows]
        found: QuerySet[Any] = self.opts.model._base_manager.filter(pk__in=keys)  # noqa: SLF001
        return found.only(*self.deletion_columns) if self.deletion_columns else found

    def _missing(self, request: HttpRequest, rows: QuerySet[Any], work: Work) -> set[str]:
        """Return the names of the models whose rows the request may not delete."""
        missing = set()
        models = deletion.models_of(rows) if work.cascades else set()
        for model in models - {rows.model}:
            if not self.admin_site.is_registered(model):
                continue
            if not self.admin_site.get_model_admin(model).has_delete_permission(request):
                missing.add(str(model._meta.verbose_name))  # noqa: SLF001
        if not self.may_delete_rows(request, rows):
            missing.add(str(self.opts.verbose_name))
        return missing

    def _protected(self, rows: QuerySet[Any]) -> list[str]:
        """Return the number of rows of each model that forbid the deletion."""
        found = []
        for model in deletion.models_of(rows):
            dependent = rows if model is rows.model else model._base_manager.none()  # noqa: SLF001
            for relation in deletion.protections(model):
                number = deletion.dependents(relation, dependent).count()
                if number:
                    found.append(f"{number:,} {relation.related_model._meta.verbose_name_plural}")  # noqa: SLF001
        return found

    def _work(
        self, request: HttpRequest, rows: QuerySet[Any], work: Work, form: dict[str, Any]
    ) -> HttpResponse | None:
        """Begin steps for SECONDS; return the page of progress, None when no row is left.

        ``form`` has the fields that the next request needs beside the numbers of the progress.
        """
        if self._missing(request, rows, work) or (work.cascades and self._protected(rows)):
            raise PermissionDenied
        numbers = {name: _number(request, name) for name in ("total", "done", "rows")}
        if not numbers["total"]:
            numbers |= {"rows": rows.count(), "total": sum(work.reach(rows).values())}
            if work.cascades:
                self.begin_deletion(request, rows)
        end = monotonic() + SECONDS
        for number in work.steps(self, request, rows):
            numbers["done"] += number
            if monotonic() >= end and rows.exists():
                numbers["total"] = max(numbers["total"], numbers["done"])
                context = {"title": work.title, "work": work, "form": form, **numbers}
                return self._page(request, "working.html", context)
        return None

    def _confirmation(
        self, request: HttpRequest, rows: QuerySet[Any], work: Work, form: dict[str, Any]
    ) -> HttpResponse:
        context = {
            "title": work.title,
            "work": work,
            "form": form,
            "names": self.names_of(rows),
            "model_count": _shown(work.reach(rows)).items(),
            "perms_lacking": self._missing(request, rows, work),
            "protected": self._protected(rows) if work.cascades else [],
            "media": self.media,
        }
        return self._page(request, "delete_selected.html", context)

    def names_of(self, rows: QuerySet[Any]) -> list[str]:
        """Return what the page of confirmation says about ``rows``: a few names."""
        names = [str(row) for row in rows[:NAMED]]
        more = rows.count() - len(names)
        return [*names, f"and {more:,} more"] if more > 0 else names

    def _page(self, request: HttpRequest, name: str, context: dict[str, Any]) -> HttpResponse:
        fields = {"post": "yes", **context.pop("form")}
        if IS_POPUP_VAR in request.POST:
            fields[IS_POPUP_VAR] = "1"
        hidden = [
            (field, value)
            for field, given in fields.items()
            for value in (given if isinstance(given, list) else [given])
        ]
        shared = {**self.admin_site.each_context(request), "opts": self.opts, "hidden": hidden}
        return TemplateResponse(request, f"admin/pcf/{name}", {**shared, **context})


def _shown(counts: dict[type[Model], int]) -> dict[str, str]:
    """Return numbers of rows by the names of their models, for the page."""
    return {
        str(model._meta.verbose_name_plural): f"{number:,}"  # noqa: SLF001
        for model, number in counts.items()
    }


def _number(request: HttpRequest, name: str) -> int:
    """Return a number of the progress; 0 when the form has none."""
    text = request.POST.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < MAX_DIGITS else 0
