"""Lines of the log: their form, and what they keep to themselves."""

import asyncio
import json
import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcf.http.access import AccessLog, note
from pcf.http.logs import JsonFormatter, PlainFormatter, RequestIdFilter, request_id, viewer_safe
from tests.http.wsgi import environ_of
from tests.server.asgi import Exchange


def record(message, *arguments, **extra):
    made = logging.makeLogRecord(
        {"name": "pcf.test", "levelname": "WARNING", "msg": message, "args": arguments, **extra}
    )
    RequestIdFilter().filter(made)
    return made


def as_json(made):
    line = JsonFormatter().format(made)
    assert "\n" not in line
    return json.loads(line)


def test_a_json_line_has_the_request_and_the_facts():
    token = request_id.set("abc")
    try:
        line = as_json(record("%d things", 3, facts={"seconds": 0.5, "level": "not this"}))
    finally:
        request_id.reset(token)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "WARNING",
        "logger": "pcf.test",
        "request_id": "abc",
        "message": "3 things",
        "seconds": 0.5,
    }


def test_other_extras_stay_out():
    class Request:
        pcf_request_id = "of the request"
        secret = "variables"

    line = as_json(record("Not Found: /x", request=Request(), status_code=404))
    assert line["request_id"] == "of the request"
    assert set(line) == {"time", "level", "logger", "request_id", "message"}


def test_exceptions_are_part_of_the_line():
    try:
        int("ann@example.org")
    except ValueError:
        line = as_json(record("failed", exc_info=sys.exc_info()))
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("with base 10: '[e-mail]'")


@given(
    st.text(st.characters()),
    st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5)),
)
def test_any_text_is_one_line_of_json(text, facts):
    assert as_json(record("%s", text, facts=facts))["logger"] == "pcf.test"


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("from ann.b+c@mail.example.org, again", "from [e-mail], again"),
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer [secret]"),
        ("postgres://pcf:pa55@db/pcf", "postgres://pcf:[secret]@db/pcf"),
        (
            "duplicate key\nDETAIL:  Key (username)=(ann) already exists.\nin f",
            "duplicate key\nDETAIL: [left out]\nin f",
        ),
        ("nothing to hide: 3 of 4", "nothing to hide: 3 of 4"),
    ],
)
def test_what_tells_of_a_person_is_left_out(text, safe):
    assert viewer_safe(text) == safe
    assert PlainFormatter("%(message)s").format(record("%s", text)) == safe


# --- the access log


def called(application, **scope):
    """Call the application as a server does; returns its body."""
    scope = {"type": "http", "method": "POST", "path": "/graphql", "headers": [], **scope}
    exchange = Exchange(scope)
    asyncio.run(exchange.run(AccessLog(application)))
    return b"".join(exchange.pieces)


def starting(status, *headers):
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


async def hello(_scope, _receive, send):
    note(operation="query", statements=3)
    await send(starting(200, (b"Content-Length", b"5"), (b"X-Request-ID", b"abc")))
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, "pcf.access")
    return caplog


def test_one_line_a_request(lines):
    assert called(hello) == b"hello"
    (line,) = lines.records
    assert (line.getMessage(), line.request_id) == ("POST /graphql 200", "abc")
    facts = dict(line.facts)
    assert facts.pop("seconds") >= 0
    assert facts == {
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
def test_paths_tell_nothing(lines, path, shown):
    called(hello, path=path, method="MADE-UP")
    assert (lines.records[0].facts["path"], lines.records[0].facts["method"]) == (shown, "other")


def test_a_request_that_failed_has_its_line(lines):
    async def broken(*_):
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        called(broken)
    assert lines.records[0].getMessage() == "POST /graphql -"


def test_notes_outside_of_a_request_are_in_no_line(lines):
    note(before="it")
    called(hello)
    note(after="it")
    assert not lines.records[0].facts.keys() & {"before", "after"}


def test_what_threads_note_of_a_request_is_in_its_line(service, lines):
    service.application, quiet = AccessLog(service.application), service.application
    for cache in ("pcf; fwd=miss; stored", "pcf; hit"):
        lines.clear()
        service.call(environ_of(b'{"query": "{ notes { id title } }"}'))
        (line,) = [record for record in lines.records if record.name == "pcf.access"]
        facts = line.facts
        assert (facts["cache"], facts["operation"], line.request_id) == (cache, "query", "same")
        assert (facts["statements"] == 0) is (cache == "pcf; hit")
    service.application = quiet


def test_a_server_is_let_begin_and_end_without_a_line(lines):
    told = []

    async def application(scope, _receive, _send):
        told.append(scope["type"])

    asyncio.run(AccessLog(application)({"type": "lifespan"}, None, None))
    assert (told, lines.records) == (["lifespan"], [])
