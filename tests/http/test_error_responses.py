"""Masked errors: the client gets a request id, and the log has the details."""

import json
import logging

import graphene
import pytest
from django.core.exceptions import FieldError, ImproperlyConfigured
from django.db import connection
from django.test import Client, RequestFactory
from graphql import GraphQLScalarType, Undefined, build_schema

from notes.models import Note
from pcf.http.middleware import RequestMiddleware
from pcf.http.views import graphql_view
from tests.conftest import token_for
from tests.serving import service_of
from users.loaders import UserById

SECRET = "/srv/app/secret.py line 7: password=hunter2"
INNER = ("hunter2", "/srv/", "Traceback", 'File "', "SELECT", "nowhere", "psycopg", "pcf.", ".py")


def sql_error():
    with connection.cursor() as cursor:
        cursor.execute("SELECT secret FROM nowhere WHERE password = 'hunter2'")


def recursion_error():
    return recursion_error()


def raiser(error):
    def fail(*_args, **_kwargs):
        raise error

    return fail


FAILURES = {
    "a type error": raiser(TypeError(SECRET)),
    "a value error": raiser(ValueError(SECRET)),
    "a key error": raiser(KeyError(SECRET)),
    "an attribute error": raiser(AttributeError(SECRET)),
    "an error of the system": raiser(FileNotFoundError(2, "No such file", "/srv/app/secret.py")),
    "an error of memory": raiser(MemoryError(SECRET)),
    "an error of Django": raiser(FieldError(SECRET)),
    "an error of settings": raiser(ImproperlyConfigured(SECRET)),
    "a Unicode error": lambda *_, **__: b"\xff hunter2 /srv/".decode("utf-8"),
    "an error without a text": raiser(RuntimeError()),
    "recursion without end": lambda *_, **__: recursion_error(),
    "a database error": lambda *_, **__: sql_error(),
    "an assertion": raiser(AssertionError(SECRET)),
}


def check_masked(response, caplog, status=200):
    """Check that the response has only the request id, and the log the traceback."""
    assert response.status_code == status
    body = response.content.decode()
    assert not [word for word in INNER if word in body]
    (error,) = response.json()["errors"]
    assert error["message"] == "Internal server error"
    request_id = response["X-Request-ID"]
    assert error["extensions"] == {"code": "INTERNAL_SERVER_ERROR", "requestId": request_id}
    assert set(error) <= {"message", "locations", "path", "extensions"}
    assert [record for record in caplog.records if record.exc_info], "the log has the rest"


@pytest.fixture(params=FAILURES)
def fail(request):
    return FAILURES[request.param]


@pytest.fixture
def http(db):
    return Client(raise_request_exception=False)


def post(client, query, token=None, variables=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    content = {"query": query, "variables": variables}
    return client.post("/graphql", content, content_type="application/json", headers=headers)


# The places where code of the project can raise


def test_resolvers(http, fail, monkeypatch, caplog):
    monkeypatch.setattr("pcf.http.diagnostics.query_with_timeout", fail)
    check_masked(post(http, "{ slowQuery(delay: 0) }"), caplog)


def test_loaders(http, fail, world, monkeypatch, caplog):
    monkeypatch.setattr(UserById, "load_batch", fail)
    check_masked(post(http, f"{{ note(id: {world.public.pk}) {{ author {{ id }} }} }}"), caplog)


def test_mutations(http, fail, world, monkeypatch, caplog):
    monkeypatch.setattr(Note, "save", fail)
    query = 'mutation { createNote(input: {title: "x"}) { note { id } } }'
    check_masked(post(http, query, token_for(world.ann)), caplog)


def test_credentials(http, fail, world, monkeypatch, caplog):
    monkeypatch.setattr("users.authentication.digest_of", fail)
    check_masked(post(http, "{ me { id } }", token_for(world.ann)), caplog, status=500)


def test_errors_that_cannot_be_printed(http, monkeypatch, caplog):
    """graphql-core itself raises for these errors, outside of any field. The executors do not."""
    odd = type("Odd", (Exception,), {"__str__": lambda _: 1 / 0})
    monkeypatch.setattr("pcf.http.diagnostics.query_with_timeout", raiser(odd()))
    check_masked(post(http, "{ slowQuery(delay: 0) }"), caplog)


# graphql-core quotes values of scalars in its own messages


@pytest.mark.parametrize(
    ("where", "query", "variables"),
    [
        ("serialize", "{ boom }", None),
        ("parse_value", "query($v: Boom) { boom(value: $v) }", {"v": "x"}),
        ("parse_literal", '{ boom(value: "x") }', None),
    ],
)
def test_scalars(http, fail, where, query, variables, caplog, settings):
    schema = build_schema("scalar Boom type Query { boom(value: Boom): Boom }")
    scalar = GraphQLScalarType("Boom", **{"parse_value": str, where: fail})
    schema.type_map["Boom"] = scalar
    field = schema.query_type.fields["boom"]
    field.type = field.args["value"].type = scalar
    field.resolve = lambda *_, **__: "x"
    response = answer_of(schema, query, variables)
    body = response.content.decode()
    assert not [word for word in INNER if word in body]
    assert response.status_code < 500
    assert response.json()["errors"]


def answer_of(schema, query, variables=None, **headers):
    """The view and its middleware, with a service for another schema."""
    service = service_of(schema)
    view = RequestMiddleware(graphql_view(lambda: service))
    content = {"query": query, "variables": variables}
    request = RequestFactory().post(
        "/graphql", content, content_type="application/json", headers=headers
    )
    response = view(request)
    response.json = lambda: json.loads(response.content)
    return response


@pytest.mark.parametrize("value", ["\ud800", Undefined, object(), 10**400, float("nan"), {1: 2}])
def test_values_that_no_response_can_hold(db, value, caplog):
    """Fields of graphene's generic types return the resolver's value unchanged."""

    class Query(graphene.ObjectType):
        anything = graphene.Field(graphene.JSONString)
        text = graphene.String()
        number = graphene.Float()

        @staticmethod
        def resolve_anything(*_):
            return value

        resolve_text = resolve_number = resolve_anything

    schema = graphene.Schema(query=Query).graphql_schema
    for field in ("anything", "text", "number"):
        response = answer_of(schema, f"{{ {field} }}")
        body = response.content.decode()
        assert response.json()
        assert not [word for word in INNER if word in body]


# HTML pages, with the settings of production


PAGES = ("/admin/", "/admin/login/", "/admin/notes/note/", "/admin/users/apitoken/add/")


@pytest.mark.parametrize("path", PAGES)
def test_error_pages_show_no_details(world, path, monkeypatch, settings, caplog):
    assert not settings.DEBUG
    client = Client(raise_request_exception=False)
    world.staff.is_superuser = True
    world.staff.save()
    client.force_login(world.staff)
    monkeypatch.setattr("django.contrib.admin.AdminSite.each_context", raiser(ValueError(SECRET)))
    response = client.get(path, follow=path.endswith("login/"))
    body = response.content.decode()
    assert response.status_code == 500
    assert not [word for word in INNER if word in body]
    assert "X-Request-ID" in response
    assert any(SECRET in str(record.exc_info) for record in caplog.records)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nowhere", 404),
        ("/admin/notes/note/%00/change/", 400),
        ("/admin/notes/note/?author=%00", 400),
        ("/admin/notes/note/?id__exact=hunter2", 302),
        ("/admin/notes/note/?q=%00", 400),
        ("/admin/notes/note/?p=hunter2", 200),
        ("/static/../settings/base.py", 404),
    ],
)
def test_odd_urls_are_no_errors(world, path, status, settings):
    client = Client(raise_request_exception=False)
    client.force_login(world.staff)
    response = client.get(path)
    assert response.status_code == status
    assert not [word for word in ("/srv/", "Traceback", 'File "', "psycopg") if word in
                response.content.decode()]  # fmt: skip


def test_the_log_has_the_details_that_the_client_does_not_see(http, monkeypatch, caplog):
    caplog.set_level(logging.ERROR)
    monkeypatch.setattr("pcf.http.diagnostics.query_with_timeout", raiser(ValueError(SECRET)))
    post(http, "{ slowQuery(delay: 0) }")
    assert SECRET in caplog.text
