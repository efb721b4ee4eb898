"""The access log: one line for each request, without what a client may hide in a path."""

import asyncio
import logging

import pytest

from pcf.observability.logs import add_log_fields
from pcf.server.application import AccessLogMiddleware
from tests.http.wsgi import environ_of
from tests.server.asgi import Exchange


def called(application, **scope):
    """Call the application as a server does; return the body of its answer."""
    scope = {"type": "http", "method": "POST", "path": "/graphql", "headers": [], **scope}
    exchange = Exchange(scope)
    asyncio.run(exchange.run(AccessLogMiddleware(application)))
    return b"".join(exchange.pieces)


def starting(status, *headers):
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


async def hello(_scope, _receive, send):
    add_log_fields(operation="query", statements=3)
    await send(starting(200, (b"Content-Length", b"5"), (b"X-Request-ID", b"abc")))
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, "pcf.access")
    return caplog


def test_each_request_has_one_line(lines):
    assert called(hello) == b"hello"
    (line,) = lines.records
    assert (line.getMessage(), line.request_id) == ("POST /graphql 200", "abc")
    fields = dict(line.fields)
    assert fields.pop("seconds") >= 0
    assert fields == {
        "method": "POST",
        "path": "/graphql",
        "status": 200,
        "bytes": 5,
        "operation": "query",
        "statements": 3,
    }


@pytest.mark.parametrize(
    ("path", "shown"),
    [("/admin/users/user/7/", "/admin/"), ("/reset/secret", "other"), ("/readyz", "/readyz")],
)
def test_other_paths_are_not_logged(lines, path, shown):
    called(hello, path=path, method="MADE-UP")
    assert (lines.records[0].fields["path"], lines.records[0].fields["method"]) == (shown, "other")


def test_a_request_that_failed_has_its_line(lines):
    async def broken(*_):
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        called(broken)
    assert lines.records[0].getMessage() == "POST /graphql -"


def test_fields_outside_of_a_request_are_in_no_line(lines):
    add_log_fields(before="it")
    called(hello)
    add_log_fields(after="it")
    assert not lines.records[0].fields.keys() & {"before", "after"}


def test_fields_that_a_thread_adds_are_in_the_requests_line(service, lines, monkeypatch):
    logged = AccessLogMiddleware(service.application)
    for cache in ("pcf; fwd=miss; stored", "pcf; hit"):
        lines.clear()
        with monkeypatch.context() as patch:
            patch.setattr(service, "application", logged)
            service.call(environ_of(b'{"query": "{ notes { id title } }"}'))
        (line,) = [record for record in lines.records if record.name == "pcf.access"]
        fields = line.fields
        assert (fields["cache"], fields["operation"], line.request_id) == (cache, "query", "same")
        assert (fields["statements"] == 0) is (cache == "pcf; hit")


def test_the_lifespan_has_no_line(lines):
    told = []

    async def application(scope, _receive, _send):
        told.append(scope["type"])

    asyncio.run(AccessLogMiddleware(application)({"type": "lifespan"}, None, None))
    assert (told, lines.records) == (["lifespan"], [])
