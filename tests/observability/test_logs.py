"""Log lines: their format, and the data that they leave out."""

import json
import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcf.observability.logs import (
    JsonFormatter,
    PlainFormatter,
    RequestIdFilter,
    request_id,
    without_secrets,
)


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


def test_a_json_line_has_the_request_and_the_fields():
    token = request_id.set("abc")
    try:
        line = as_json(record("%d things", 3, fields={"seconds": 0.5, "level": "not this"}))
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


def test_other_extras_are_left_out():
    class Request:
        pcf_request_id = "of the request"
        secret = "variables"

    line = as_json(record("Not Found: /x", request=Request(), status_code=404))
    assert line["request_id"] == "of the request"
    assert set(line) == {"time", "level", "logger", "request_id", "message"}


def test_an_exception_is_part_of_the_line():
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
def test_any_text_is_one_line_of_json(text, fields):
    assert as_json(record("%s", text, fields=fields))["logger"] == "pcf.test"


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("from ann.b+c@mail.example.org, again", "from [e-mail], again"),
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer [secret]"),
        ("the token pcf_abc123 is not valid", "the token [secret] is not valid"),
        ("token issued (id 7), token rotated", "token issued (id 7), token rotated"),
        ("a token opensesameopensesame", "a token [secret]"),
        ("GET /x?access_token=ab&y=1", "GET /x?access_token=[secret]&y=1"),
        ("got 'A2VtSx-q0Lt_x8NwuZ1kQe77'", "got '[secret]'"),
        ("of 2cf24dba5fb0a30e26e83b2ac5b9e29e", "of 2cf24dba5fb0a30e26e83b2ac5b9e29e"),
        ("issued a token (id 123456, user 7)", "issued a token (id 123456, user 7)"),
        ("postgres://pcf:pa55@db/pcf", "postgres://pcf:[secret]@db/pcf"),
        (
            "duplicate key\nDETAIL:  Key (username)=(ann) already exists.\nin f",
            "duplicate key\nDETAIL: [left out]\nin f",
        ),
        ("nothing to hide: 3 of 4", "nothing to hide: 3 of 4"),
    ],
)
def test_personal_data_and_secrets_are_left_out(text, safe):
    assert without_secrets(text) == safe
    assert PlainFormatter("%(message)s").format(record("%s", text)) == safe


# --- lines about a request


class Foreign:
    """A request with a secret in its method and its path."""

    method, path = "opensesame", "/opensesame/"


def about(logger, message, *arguments, status=None, **more):
    extra = {} if status is None else {"status_code": status}
    return record(message, *arguments, name=logger, request=Foreign(), **extra, **more)


def failed(error):
    try:
        raise error
    except type(error):
        return sys.exc_info()


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (about("django.request", "Not Found: %s", "/opensesame/", status=404),
         "other other 404 Not Found"),
        (about("django.request", "Method Not Allowed (%s): %s", "opensesame", "/", status=405),
         "other other 405 Method Not Allowed"),
        (about("django.security.DisallowedHost", "Invalid HTTP_HOST header: opensesame",
               status=400, exc_info=failed(ValueError("opensesame"))),
         "DisallowedHost: other other 400 Bad Request"),
        (about("django.security.csrf", "Forbidden (%s): %s",
               "Referer checking failed - opensesame does not match.", "/opensesame", status=403),
         "CSRF, Referer checking failed: other other 403 Forbidden"),
        (record("%s %s", "opensesame", "/opensesame", name="gunicorn.error"), "other other"),
        (record("%s %s", "GET", "/admin/opensesame", name="gunicorn.error"), "GET /admin/"),
        (record("Error handling request %s", "/opensesame", name="gunicorn.error"),
         "Error handling request other"),
        (record("Invalid request from ip=::1: Header: opensesame", name="gunicorn.error"),
         "Invalid request from ip=::1"),
        (record("Booting worker with pid: %s", 7, name="gunicorn.error"),
         "Booting worker with pid: 7"),
    ],
)  # fmt: skip
def test_lines_about_a_request_do_not_quote_it(made, message):
    assert PlainFormatter("%(message)s").format(made) == message
    line = as_json(made)
    assert line["message"] == message
    assert "exception" not in line


def test_an_error_of_the_service_keeps_its_traceback():
    made = about("django.request", "Internal Server Error: %s", "/opensesame/", status=500,
                 exc_info=failed(ValueError("x")))  # fmt: skip
    text = PlainFormatter("%(message)s").format(made)
    assert text.startswith("other other 500 Internal Server Error\nTraceback")
    assert "ValueError: x" in as_json(made)["exception"]


def test_an_exception_of_gunicorns_parser_has_no_traceback():
    from gunicorn.http.errors import InvalidHeader

    made = record("Error handling connection", name="gunicorn.error",
                  exc_info=failed(InvalidHeader("opensesame")))  # fmt: skip
    assert PlainFormatter("%(message)s").format(made) == "Error handling connection"


@pytest.mark.parametrize("length", [10, 4_000, 4_001, 1_000_000])
def test_a_message_has_a_bounded_length(length):
    text = PlainFormatter("%(message)s").format(record("%s", "x " * (length // 2)))
    assert len(text) <= 4_100
    assert ("left out" in text) is (length > 4_001)


def test_a_traceback_has_a_bounded_length():
    made = record("failed", exc_info=failed(ValueError("x " * 500_000)))
    text = PlainFormatter("%(message)s").format(made)
    assert len(text) < 13_000
    assert text.startswith("failed\nTraceback")
    assert text.endswith("x ")
