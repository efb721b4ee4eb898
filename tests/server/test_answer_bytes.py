"""The bytes of an answer on the fast path are those of its headers, line by line."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pcf._compat.gunicorn import answer_head
from pcf.http.request import GRAPHQL_JSON, JSON
from pcf.http.request_state import RequestState
from pcf.http.response import GraphQLResponse
from pcf.server.fast_path import encode_answer
from pcf.server.messages import Answer, answer_of

NAMES = [b"Content-Type", b"Content-Length", b"content-length", b"X-Content-Length", b"Set-Cookie"]
VALUES = st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=20)
HEADERS = st.tuples(st.sampled_from(NAMES), VALUES.map(lambda value: value.encode("latin-1")))
STATUSES = st.sampled_from([200, 204, 294, 304, 401])
OWN = st.sampled_from([b"", b"Vary: Accept\r\nContent-Length: 7", b'ETag: ": "\r\nAge: '])
ANSWERS = st.tuples(STATUSES, st.lists(HEADERS), st.binary(max_size=30), st.none(), OWN).map(
    lambda given: Answer(*given)
)


def line_by_line(answer, closes):
    """Return the bytes of an answer."""
    data, has_length = answer_head(answer.status), answer.status in (204, 304) or bool(answer.own)
    for name, value in answer.all_headers:
        data += name + b": " + value + b"\r\n"
        has_length |= name.lower() == b"content-length"
    if not has_length:
        data += b"Content-Length: %d\r\n" % len(answer.body)
    if closes:
        data += b"Connection: close\r\n"
    return data + b"\r\n" + answer.body


def without_date(data):
    return [line for line in data.split(b"\r\n") if not line.startswith(b"Date: ")]


@example(answer=Answer(200, [(b"content-length", b"2")], b"{}"), closes=False)
@given(answer=ANSWERS, closes=st.booleans())
def test_an_answer_has_each_of_its_headers_in_a_line(answer, closes):
    found = encode_answer(answer, closes=closes)
    assert without_date(found) == without_date(line_by_line(answer, closes))


DEFAULTS = [(b"X-Frame-Options", b"DENY"), (b"Vary", b"Accept-Language")]


@pytest.mark.parametrize("media", [JSON, GRAPHQL_JSON])
@pytest.mark.parametrize("status", [200, 304])
def test_an_answer_has_its_own_headers_then_its_id_then_those_of_middleware(media, status):
    state, body = RequestState.from_headers({"x-request-id": "a-1"}), json.dumps({}).encode()
    own = {"ETag": '"a"', "Cache-Status": 'pcf; detail="\xe9"'}
    response = GraphQLResponse(body, status, status, own)
    answer = answer_of(None, state, response, media, DEFAULTS)
    kind = (b"Content-Type", f"{media}; charset=utf-8".encode())
    assert answer.all_headers == [
        *([] if status == 304 else [kind]),
        (b"Vary", b"Accept, Accept-Encoding, Authorization"),
        (b"Cache-Control", b"no-store"),
        (b"ETag", b'"a"'),
        (b"Cache-Status", b'pcf; detail="\xe9"'),
        *([] if status == 304 else [(b"Content-Length", b"2")]),
        (b"X-Request-ID", b"a-1"),
        *DEFAULTS,
    ]
    assert (answer.status, answer.body, answer.headers) == (status, body, DEFAULTS)
    assert (len(DEFAULTS), len(own)) == (2, 2)
