"""Random requests to a real gunicorn: no 5xx, no hang, no log line without a request id.

Each test sends five times ``PCF_FUZZ_EXAMPLES`` requests; a random schema costs more than these.
"""

import json
import os
import re
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.attacks import DOCUMENTS
from tests.end_to_end.raw import exchange, request

EXAMPLES = 5 * int(os.environ.get("PCF_FUZZ_EXAMPLES", "12"))

DATE = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
OWN = re.compile(DATE + r",\d{3} [A-Z]+ (?!gunicorn)[\w.]+ \[(?P<identity>[\w.-]+)\] \S.*")
# gunicorn's lines, about workers and about bytes that are no request
GUNICORN = re.compile(rf"\[{DATE} [+-]\d{{4}}\] \[\d+\] \[[A-Z]+\] \S.*")
TRACEBACK = "Traceback (most recent call last):"
BETWEEN = re.compile(r"|(During handling of|The above exception was) .*:")

# There is no shrinking, because an answer may depend on earlier requests.
fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)

MEDIA = st.sampled_from([
    b"application/json", b"application/json; charset=utf-8", b"application/json; charset=utf-16",
    b"APPLICATION/JSON", b"application/graphql-response+json", b"application/*;q=0.5", b"*/*",
    b"text/html, */*;q=0.1", b"text/plain", b"application/json;q=x", b";", b",", b"", b"a/b;;q=;",
])  # fmt: skip
# "-" as a request id would look like none
TEXT = st.binary(max_size=30).filter(
    lambda b: b"\r" not in b and b"\n" not in b and b.strip() != b"-"
)
HEADERS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([b"Content-Type", b"Accept"]), MEDIA),
        st.tuples(
            st.sampled_from([
                b"Authorization", b"X-Request-ID", b"X-Request-Timeout", b"Origin", b"Cookie",
                b"Cache-Control", b"Content-Encoding", b"If-None-Match", b"X-Forwarded-For",
                b"Expect",
                b"Access-Control-Request-Method", b"Accept-Encoding", b"Range", b"Upgrade",
            ]),
            TEXT | st.sampled_from([b"Bearer x", b"no-store", b"gzip", b"*", b"100", b"0.001"]),
        ),
    ),
    max_size=6,
)  # fmt: skip
VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
        st.sampled_from(["\ud800", "\0", 2**63, -(2**63), 10**40, "9" * 50]),
    ),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
QUERIES = st.one_of(
    st.sampled_from([
        "{ me { id } }",
        "query ($a: ID!) { user(id: $a) { id notes { tags { name } } } }",
        "query ($a: Int!) { users(first: $a) { name } }",
        "query ($a: String) { notes(tag: $a, first: 1) { title } }",
        "query ($a: ID) { notes(after: $a) { title } }",
        "mutation ($a: UpdateNoteInput!) { updateNote(input: $a) { userErrors { code } } }",
        "query A { me { id } } query B { users(first: 1) { id } }",
        "{ __schema { queryType { name } } }",
        "subscription { me { id } }",
    ]),
    st.sampled_from(list(DOCUMENTS.values())),
    st.text(alphabet='{}()[]:$!@."#\\ aeidmnu\n\0\ud800é', max_size=60),
)  # fmt: skip
PARAMETERS = st.fixed_dictionaries(
    {},
    optional={
        "query": QUERIES | VALUES,
        "variables": st.dictionaries(st.just("a"), VALUES) | VALUES,
        "operationName": st.sampled_from(["A", "B", "C", "", None]) | VALUES,
        "extensions": st.just({"cost": True})
        | st.just({"persistedQuery": {"version": 1, "sha256Hash": "0" * 64}})
        | VALUES,
        "documentId": st.text(max_size=70) | VALUES,
    },
)
JSON_BODIES = PARAMETERS.map(lambda parameters: json.dumps(parameters).encode())
BODIES = st.one_of(JSON_BODIES, st.lists(PARAMETERS, max_size=3).map(json.dumps).map(str.encode))


def check(server, data):
    answer = exchange(server.url, data)
    in_no_time = b"X-Request-Timeout" in data  # the client may allow a millisecond
    assert answer.status < 500 or (answer.status == 504 and in_no_time), (answer, data)
    if answer.headers.get("x-request-id") and answer.body:
        kind = answer.headers["content-type"]
        if "json" in kind:
            json.loads(answer.body)
    return answer


def strangers(lines: list[str]) -> Iterator[str]:
    """The lines that are neither the service's with a request id, nor part of a traceback, nor
    gunicorn's.
    """
    inside = False  # a traceback, whose last line names the exception
    ended = False  # it has; another one may follow
    for line in lines:
        if found := OWN.fullmatch(line):
            inside = ended = False
            if found["identity"] == "-":
                yield line
        elif GUNICORN.fullmatch(line):
            inside = ended = False
        elif line == TRACEBACK:
            inside, ended = True, False
        elif inside:
            inside = line.startswith(" ")
            ended = not inside
        elif not (ended and BETWEEN.fullmatch(line)):
            yield line


def test_foreign_lines_in_a_log_are_found():
    date, gunicorn = "2026-01-02 03:04:05", "[2026-01-02 03:04:05 +0000] [7] [INFO] Booting"
    good = f"{date},678 ERROR pcf.http [id-1] Failed"
    unnamed, between = f"{date},678 INFO pcf.cache [-] x", "During handling of it, another came:"
    traceback = [TRACEBACK, '  File "x.py", line 1, in f', "    f()", "ValueError: x"]
    assert not list(strangers([good, *traceback, "", between, "", *traceback, good, gunicorn]))
    assert list(strangers([good, unnamed, "print", good])) == [unnamed, "print"]
    assert list(strangers([good, *traceback, "x.py:1: DeprecationWarning: y"])) == [
        "x.py:1: DeprecationWarning: y"
    ]
    assert list(strangers([good, "", between, gunicorn, "  indented"])) == [
        "",
        between,
        "  indented",
    ]
    foreign = f"{date},678 WARNING gunicorn.http.wsgi [-] WSGI app sent body bytes"
    assert list(strangers([foreign])) == [foreign]


@pytest.fixture(scope="module", autouse=True)
def _log(server):
    """Every line that these tests make the service log has a request id."""
    before = len(server.logged())
    yield
    check(server, request(headers=[(b"X-Request-ID", b"known-1")], body=b"{"))
    lines = server.logged()[before:].splitlines()
    assert any("[known-1]" in line for line in lines)
    assert not list(strangers(lines))


@fuzz
@given(PARAMETERS, st.sampled_from([b"application/json", b"application/graphql-response+json"]))
def test_parameters(server, parameters, accept):
    headers = [(b"Content-Type", b"application/json"), (b"Accept", accept)]
    answer = check(server, request(headers=headers, body=json.dumps(parameters).encode()))
    assert answer.status in {200, 294, 400, 422}
    assert set(json.loads(answer.body)) & {"data", "errors"}


@fuzz
@given(
    st.sampled_from([b"GET", b"POST", b"PUT", b"OPTIONS", b"HEAD", b"DELETE", b"PATCH", b"X"]),
    HEADERS,
    BODIES | st.binary(max_size=200),
    st.sampled_from([b"/graphql", b"/graphql/", b"/graphql?query={me{id}}", b"/graphql?%00=%ff"]),
)
def test_methods_headers_and_bodies(server, method, headers, body, target):
    answer = check(server, request(method, target, headers, body))
    assert answer.status in {0, 504} or 200 <= answer.status < 500


@fuzz
@given(st.binary(max_size=300), st.integers(0, 400), JSON_BODIES)
def test_bytes(server, noise, place, body):
    """Noise replaces a part of a valid request."""
    data = request(headers=[(b"Content-Type", b"application/json")], body=body)
    check(server, data[:place] + noise + data[place + len(noise) :])


@fuzz
@given(st.text(max_size=80), st.text(max_size=40), st.binary(max_size=20))
def test_query_strings(server, query, variables, noise):
    from urllib.parse import quote

    encode = lambda text: quote(text.encode("utf-8", "surrogatepass")).encode()  # noqa: E731
    tail = quote(noise).encode()
    target = b"/graphql?query=%b&variables=%b&%b" % (encode(query), encode(variables), tail)
    answer = check(server, request(b"GET", target, [(b"Accept", b"application/json")]))
    assert answer.status in {0, 200, 400, 414}
