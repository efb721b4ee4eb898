"""No request to the admin ends with a server error, whatever its parameters hold."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notes.models import Note
from pcf.admin.deletion import StepwiseDeletion
from tags.models import Tag
from users.models import ApiToken, User

pytestmark = [pytest.mark.django_db, pytest.mark.repeats]

HOSTILE = [
    "", " ", "abc", "\x00", "1\x00", "-1", "²", "1.5", "9" * 30, "9" * 5_000, "None", "1,abc",
    "2020-13-45", "'", "\r\n", "\U0001f600", "x" * 20_000,
]  # fmt: skip
MODELS = list(admin.site._registry)


@pytest.fixture
def client() -> Client:
    root = User.objects.create_superuser("root", "root@example.org", "x", name="Root")
    note = Note.objects.create(author=root, title="a note")
    note.tags.add(Tag.objects.create(name="red"))
    ApiToken.issue(root, "a token")
    client = Client(raise_request_exception=False)
    client.force_login(root)
    return client


def url(model: Any, page: str, *arguments: Any) -> str:
    opts = model._meta
    return reverse(f"admin:{opts.app_label}_{opts.model_name}_{page}", args=arguments)


def pages(model: Any) -> list[str]:
    return [page for page in ("changelist", "add") if has(model, page)]


def has(model: Any, page: str) -> bool:
    names = {pattern.name for pattern in admin.site._registry[model].get_urls()}
    return f"{model._meta.app_label}_{model._meta.model_name}_{page}" in names


def parameters(model: Any) -> Iterator[str]:
    """The parameters that Django and the filters read, and each column with each look-up."""
    yield from ("q", "p", "o", "e", "all", "_popup", "_to_field", "_facets", "_changelist_filters")
    yield from (
        "pk",
        "id",
        "_source_model",
        "state",
        "author",
        "tag",
        "author__id__exact",
        "pk__in",
    )
    for field in model._meta.get_fields():
        if not field.auto_created or field.concrete:
            yield field.name
            yield from (f"{field.name}__{name}" for name in LOOKUPS)


LOOKUPS = ("in", "gte", "id__exact", "icontains")


def parameters_of(model: Any, page: str) -> list[str]:
    """The parameters of a page. A form reads no look-ups: one stands for all of them."""
    names = [*dict.fromkeys(parameters(model))]
    if page == "changelist":
        return names
    look_ups = [name for name in names if "__" in name]
    return [name for name in names if name not in look_ups] + look_ups[:1]


def known(names: list[str], among: Any) -> list[str]:
    """The names whose column or control is among these; one of the others stands for the others."""
    others = [name for name in names if name.partition("__")[0] not in among]
    return [name for name in names if name not in others] + others[:1]


def columns(model: Any) -> set[str]:
    """The names of the columns, and of the fields of the form."""
    form = admin.site._registry[model].form
    return {field.name for field in model._meta.get_fields()} | set(form.base_fields)


def actions(model: Any) -> list[str]:
    """The actions of the list of a model."""
    return list(dict.fromkeys(["delete_selected", *admin.site._registry[model].actions]))


def refused(client: Client, where: str, data: Any, method: str = "get") -> str | None:
    """Return a description of the request if its answer is a server error."""
    response = getattr(client, method)(where, data)
    if response.status_code < 500:
        return None
    return f"{method} {where} {str(data)[:80]}: {getattr(response, 'exc_info', [''])[1]!r}"


def check(found: list[str | None]) -> None:
    wrong = [text for text in found if text]
    assert not wrong, f"{len(wrong)}:\n" + "\n".join(wrong[:20])


EACH_MODEL = pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)


@EACH_MODEL
def test_parameters_of_pages(client: Client, model: Any) -> None:
    check([
        refused(client, url(model, page), {name: "abc"})
        for page in pages(model)
        for name in parameters_of(model, page)
    ])  # fmt: skip


@EACH_MODEL
def test_values_of_parameters(client: Client, model: Any) -> None:
    fields = known(["author", "user", "tag_names", "created_at__gte"], columns(model))
    check([
        refused(client, url(model, page), {name: value})
        for page in pages(model)
        for value in HOSTILE
        for name in ([*fields, "q", "p"] if page == "changelist" else fields)
    ])  # fmt: skip


@EACH_MODEL
def test_ids_of_rows(client: Client, model: Any) -> None:
    check([
        refused(client, url(model, page, value or "x"), {}, method)
        for page in ("change", "delete", "history")
        if has(model, page)
        for value in HOSTILE
        if "\r" not in value
        for method in ("get", "post")
    ])  # fmt: skip


@EACH_MODEL
def test_actions(client: Client, model: Any) -> None:
    values = HOSTILE if has(model, "changelist") else []
    requests = [
        {"action": action, "_selected_action": [value, "7"], "post": "yes"}
        for value in values
        for action in (*actions(model), *["abc"] * (value == "abc"))
    ]
    names = ["index", "select_across", "action"]
    if isinstance(admin.site._registry[model], StepwiseDeletion):
        names += ["until", "total"]
    requests += [
        {"action": "delete_selected", "_selected_action": "7", name: value, "post": "yes"}
        for value in values
        for name in names
    ]
    requests += [
        {**dict.fromkeys(names, value), "_selected_action": "7", "action": "delete_selected"}
        for value in values
    ]
    check([refused(client, url(model, "changelist"), data, "post") for data in requests])


OF_FORMS = ("_to_field", "_popup", "_saveasnew")


def controls(client: Client, form: str) -> set[str]:
    """The names of the controls of a form."""
    return set(re.findall(r'name="([^"]+)"', client.get(form).content.decode()))


@EACH_MODEL
def test_fields_of_forms(client: Client, model: Any) -> None:
    row = model._default_manager.first() if model._meta.managed else None
    forms = [url(model, "add")] if has(model, "add") else []
    if row is not None and has(model, "change"):
        forms.append(url(model, "change", row.pk))
    names = ["title", "content", "author", "tag_names", "user", "name", "scope", "expires_at_0"]
    names += ["username", "email", "groups", "user_permissions", "_shown", "is_public", "password1"]
    check([
        refused(client, form, data, "post")
        for form in forms
        for data in (
            *({name: "abc"} for name in (*known(names, controls(client, form)), *OF_FORMS)),
            {"_to_field": ""},
            *(dict.fromkeys(names, value) for value in HOSTILE),
        )
    ])  # fmt: skip


@pytest.mark.parametrize("field", ["author", "tags"])
def test_autocomplete(client: Client, field: str) -> None:
    good = {"app_label": "notes", "model_name": "note", "field_name": field, "term": "a"}
    where = reverse("admin:autocomplete")
    check([
        refused(client, where, {**good, name: value})
        for name in (*good, "page")
        for value in HOSTILE
    ])  # fmt: skip


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    model=st.sampled_from(MODELS),
    data=st.dictionaries(
        st.sampled_from(["q", "author", "tag", "user", "p", "o", "id__in", "action", "_to_field",
                         "_selected_action", "title", "name", "tag_names", "created_at__lt"]),
        st.text(st.characters(codec="utf-8")),
    ),
    method=st.sampled_from(["get", "post"]),
)  # fmt: skip
def test_random_values(client: Client, model: Any, data: dict[str, str], method: str) -> None:
    check([refused(client, url(model, page), data, method) for page in pages(model)])


def test_a_nul_in_the_address_is_refused_with_a_reason(client: Client) -> None:
    for query in ({"q": "a\x00"}, {"author": "\x00"}, {"\x00": "1"}):
        response = client.get(url(Note, "changelist"), query)
        assert response.status_code == 400
        assert "The address contains the character NUL" in response.content.decode()


@pytest.mark.parametrize("value", ["abc", "1.5", "²", "9" * 5_000, ""])
def test_a_selected_row_without_an_id_is_refused(client: Client, value: str) -> None:
    data = {"action": "delete_selected", "_selected_action": value, "post": "yes"}
    response = client.post(url(Note, "changelist"), data)
    assert response.status_code == 400
    assert "has an id that no row can have" in response.content.decode()
    assert Note.objects.count() == 1


def test_a_form_ignores_initial_values_that_are_no_ids(client: Client) -> None:
    root = User.objects.get()
    html = client.get(url(Note, "add"), {"author": "abc"}).content.decode()
    assert "Root (root" not in html
    html = client.get(url(Note, "add"), {"author": str(root.pk)}).content.decode()
    assert f"Root (root, root@example.org, id {root.pk})" in html


def test_a_filter_that_postgresql_cannot_compare_is_refused(client: Client) -> None:
    where = reverse("admin:axes_accessfailurelog_changelist")
    response = client.get(where, {"ip_address": "abc"})
    assert response.status_code == 400
    assert "A filter has a value that its column cannot have" in response.content.decode()
