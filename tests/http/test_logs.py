"""Lines of the log: their form, and what they keep to themselves."""

import json
import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcf.http.access import AccessLog, note
from pcf.http.logs import JsonFormatter, PlainFormatter, RequestIdFilter, request_id, viewer_safe


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


def called(application, **environ):
    """Call the application as a server does; returns its body."""
    body = AccessLog(application)(
        {"REQUEST_METHOD": "POST", "PATH_INFO": "/graphql", **environ}, lambda *_: None
    )
    content = b"".join(body)
    body.close()
    return content


def hello(_environ, start_response):
    note(operation="query", statements=3)
    start_response("200 OK", [("Content-Length", "5"), ("X-Request-ID", "abc")])
    return [b"hello"]


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
    called(hello, PATH_INFO=path, REQUEST_METHOD="MADE-UP")
    assert (lines.records[0].facts["path"], lines.records[0].facts["method"]) == (shown, "other")


def test_a_request_that_failed_has_its_line(lines):
    def broken(_environ, _start_response):
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        called(broken)
    assert lines.records[0].getMessage() == "POST /graphql -"


def test_notes_outside_of_a_request_are_in_no_line(lines):
    note(before="it")
    called(hello)
    note(after="it")
    assert not lines.records[0].facts.keys() & {"before", "after"}
