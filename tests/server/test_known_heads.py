"""A known head: a request behind it is what a parse of all its bytes returns."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcf.http.request_state import RequestState
from pcf.server.endpoint import GraphQLEndpoint
from pcf.server.fast_path import MAX_REQUEST_BYTES, FastPath, parse_request
from pcf.server.known_heads import MAX_KNOWN_HEAD, MAX_UNUSED, RequestReader
from pcf.server.messages import ReceivedRequest, read_request
from tests.server.test_fast_path import NOTES, TAGS, bearer, get, post
from tests.server.test_fast_path_forms import OTHER_FORMS, USUAL
from tests.server.wired import contents, wire, wired

__all__ = ["wire", "wired"]

SERVER, CLIENT = (("192.0.2.100", 80), False), ("192.0.2.1", 1234)
SCHEME = ("x-forwarded-proto",)
TEMPLATE = {"type": "http", "scheme": "http", "server": ("192.0.2.100", 80), "root_path": ""}
SECURE = {**TEMPLATE, "scheme": "https"}


def make_fast_path(*templates):
    """Return a fast path that knows each (headers, names, scope) of ``templates``."""
    fast_path = FastPath(GraphQLEndpoint(None, None), None, None)
    for headers, names, scope in templates:
        fast_path.learn(RequestReader(SERVER, CLIENT).template_key(headers, names), scope)
    return fast_path


PLAIN = ({}, (), TEMPLATE)
PROXIED = ({"x-forwarded-proto": "https"}, SCHEME, SECURE)
FAST_PATHS = [make_fast_path(PLAIN), make_fast_path(PLAIN, PROXIED), make_fast_path()]


def from_scratch(data, fast_path, names):
    """Return the request that ``data`` consists of, by a parse of all its bytes."""
    request = parse_request(data)
    if request is None or request.path != "/graphql":
        return None
    key = RequestReader(SERVER, CLIENT).template_key(request.headers, names)
    template = fast_path.template(key)
    if template is None:
        return None
    scope = {
        **template,
        "method": request.method,
        "path": request.path,
        "raw_path": request.path.encode(),
        "query_string": request.query.encode(),
        "client": CLIENT,
    }
    state = RequestState.from_headers(request.headers)
    received = ReceivedRequest(scope, request.headers, request.body, state)
    unparsed = read_request(received)
    return None if unparsed is None else (received, unparsed)


def facts(found, fast_path):
    """Return what two reads of the same bytes must share."""
    if found is None:
        return None
    received, unparsed = found
    state = received.state
    named = state.request_id if "x-request-id" in received.headers else ""
    return (
        received.scope,
        list(received.headers.items()),
        received.body,
        (named, state.raw_digest, state.timeout.layer, state.timeout.limit),
        dict(unparsed.fields),
        tuple(unparsed.request),
        received.origin_key or fast_path.endpoint.origin_key(received.scope, received.headers),
    )


def check(reader, data, fast_path=FAST_PATHS[0], names=()):
    """Read ``data`` behind what ``reader`` has read; return what it is."""
    found = reader.read(data, fast_path, names)
    expected = from_scratch(data, fast_path, names)
    assert facts(found, fast_path) == facts(expected, fast_path), data
    return found


# --- random connections

BODIES = [
    b"",
    b'{"query":"{a}"}',
    b"x",
    b"123456789",
    b"1234567890",
    b"\r\n\r\n",
    b"0\r\n\r\n" * 30,
]
LINES = [
    b"Content-Type: application/json",
    b"content-type:application/json; charset=utf-8",
    b"Accept: application/json",
    b"Authorization: Bearer a",
    b"Authorization: Bearer b",
    b"X-Forwarded-Proto: https",
    b"X-Content-Length: 15",
    b"X-Request-ID: a",
    b"X-Request-Timeout: 2",
]
LENGTHS = [b"Content-Length: %d", b"content-length:%d", b"CONTENT-LENGTH:   %d  "]
NUMBERS = [b"0%d", b"+%d", b"-%d", b" %d", b"%d ", b"%d\t", b"%d, %d", b"%d;", b"0x%x", b"%d\r\n"]


@st.composite
def heads(draw):
    """A request as (the bytes before the digits of its length, the bytes behind them, is GET)."""
    lines = draw(st.lists(st.sampled_from(LINES), unique_by=lambda line: line.lower()[:9]))
    if draw(st.integers(0, 3)) == 0:
        target = draw(st.sampled_from([b"/graphql?query={a}", b"/graphql", b"/other"]))
        return b"\r\n".join([b"GET %b HTTP/1.1" % target, b"Host: a", *lines, b"", b""]), b"", True
    kind = draw(st.sampled_from([LINES[0], LINES[1]]))
    lines = [kind, *(line for line in lines if not line.lower().startswith(b"content-type"))]
    lines.insert(draw(st.integers(0, len(lines))), draw(st.sampled_from(LENGTHS)))
    whole = b"\r\n".join([b"POST /graphql HTTP/1.1", b"Host: a", *lines, b"", b""])
    before, _, after = whole.partition(b"%d")
    return before, after, False


@st.composite
def requests(draw, head):
    """The bytes of a request with this head: as they should be, or changed somewhere."""
    before, after, is_get = head
    body = b"" if is_get else draw(st.sampled_from(BODIES))
    data = before + (b"" if is_get else b"%d" % len(body)) + after + body
    changes = ["number", "digits", "cut", "more", "byte", "line"]
    match draw(st.sampled_from(["none"] * len(changes) + changes)):
        case "number":
            number = draw(st.sampled_from(NUMBERS))
            data = before + number % ((len(body),) * number.count(b"%")) + after + body
        case "digits":
            data = before + b"%d" % draw(st.integers(0, 30)) + after + body
        case "cut":
            data = data[: draw(st.integers(0, len(data)))]
        case "more":
            data += draw(st.sampled_from([b"x", b"\r\n", data]))
        case "byte":
            place = draw(st.integers(0, len(data)))
            byte = draw(st.sampled_from([b"", b"\r", b"\n", b" ", b"0", b"1", b":", b"\0", b"a"]))
            data = data[:place] + byte + data[place + draw(st.integers(0, 1)) :]
        case "line":
            line = draw(st.sampled_from([*LINES, b"Content-Length: 15", b"Host: b", b"A : b"]))
            data = data.replace(b"\r\n\r\n", b"\r\n" + line + b"\r\n\r\n", 1)
    return data


@st.composite
def connections(draw):
    """Draw the reads of one connection: bytes, fast path and scheme headers of each."""
    some = draw(st.lists(heads(), min_size=1, max_size=2))
    number = draw(st.integers(2, 8))
    calm = st.integers(0, 5).map(lambda n: n == 0)
    fast_path, names, reads = FAST_PATHS[0], (), []
    for _ in range(number):
        if draw(calm):
            fast_path = draw(st.sampled_from(FAST_PATHS))
        if draw(calm):
            names = draw(st.sampled_from([(), SCHEME]))
        reads.append((draw(requests(draw(st.sampled_from(some)))), fast_path, names))
    return reads


@settings(max_examples=400, deadline=None)
@given(connections())
def test_every_request_of_a_connection_is_what_a_parse_from_scratch_returns(reads):
    reader = RequestReader(SERVER, CLIENT)
    for data, fast_path, names in reads:
        check(reader, data, fast_path, names)


# --- what a known head takes


def test_a_head_with_another_length_is_known():
    reader = RequestReader(SERVER, CLIENT)
    lengths = (1, 9, 10, 99, 100, 1_000, 9_999, 10_000)
    first, *others = [check(reader, shortened(b"x" * length))[1] for length in lengths]
    assert all(each is first for each in others)


def shortened(
    body, head=b"POST /graphql HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
):
    return b"%bContent-Length: %d\r\nAccept: */*\r\n\r\n%b" % (head, len(body), body)


@pytest.mark.parametrize("request_", [post(), get(), post(TAGS, "X-Request-ID: a")])
def test_the_same_request_is_known(request_):
    reader = RequestReader(SERVER, CLIENT)
    first, second = check(reader, request_), check(reader, request_)
    assert first[1] is second[1]


def test_two_requests_share_nothing_that_may_change():
    reader = RequestReader(SERVER, CLIENT)
    first, _ = check(reader, post())
    first.scope["headers"] = [(b"authorization", b"Bearer a")]
    first.headers["authorization"] = "Bearer a"
    second, _ = check(reader, post())
    second.scope["method"] = second.headers["host"] = "b"
    check(reader, post())
    assert first.state is not second.state
    assert first.state.request_id != second.state.request_id


def test_a_connection_keeps_no_long_head():
    reader, line = RequestReader(SERVER, CLIENT), "X-Long: "
    size = len(post(TAGS, line)) - len(parse_request(post()).body.content)
    for more, is_kept in ((1, False), (0, True)):
        data = post(TAGS, line + "a" * (MAX_KNOWN_HEAD - size + more))
        first, second = check(reader, data), check(reader, data)
        assert (first[1] is second[1]) is is_kept


@pytest.mark.parametrize(("unused", "is_kept"), [(MAX_UNUSED - 1, True), (MAX_UNUSED, False)])
def test_a_connection_whose_heads_do_not_come_again_keeps_none(unused, is_kept):
    reader = RequestReader(SERVER, CLIENT)
    for number in (*range(unused), 1_000, 1_000, *range(unused - 1)):  # a use begins a new row
        check(reader, post(TAGS, f"X-Request-ID: {number}"))
    first, second = check(reader, post()), check(reader, post())
    assert (first[1] is second[1]) is is_kept


# --- what a known head must not take


@pytest.mark.parametrize("name", [*OTHER_FORMS, *USUAL])
@pytest.mark.parametrize("first", [post(), get()])
def test_a_known_head_lets_no_other_form_in(first, name):
    reader, data = RequestReader(SERVER, CLIENT), {**OTHER_FORMS, **USUAL}[name]
    assert check(reader, first) is not None
    assert (check(reader, data) is None) is (name in OTHER_FORMS)
    check(reader, first)
    check(reader, data)


def test_the_digits_of_another_header_are_no_length():
    reader, line = RequestReader(SERVER, CLIENT), b"X-Content-Length: 15\r\nContent-Length: 15"
    usual = shortened(b"x" * 15).replace(b"Content-Length: 15", line)
    assert check(reader, usual) is not None
    assert (
        check(reader, usual.replace(b"X-Content-Length: 15", b"X-Content-Length: 10")[:-5]) is None
    )


SMUGGLED = b"x" * 15 + b"POST /graphql HTTP/1.1\r\nHost: b\r\n\r\n"


@pytest.mark.parametrize(
    "digits", [b"015", b"+15", b"-15", b" 15 ", b"15\t", b"", b"1_5", b"15, 15", b"0xf", b"1",
               b"16", b"15\r\nContent-Length: 15", b"15\r\nTransfer-Encoding: chunked", b"\xb2"],
)  # fmt: skip
def test_a_known_head_takes_no_other_spelling_of_a_length(digits):
    reader, usual = RequestReader(SERVER, CLIENT), shortened(b"x" * 15)
    check(reader, usual)
    data = usual.replace(b"Length: 15", b"Length: " + digits)
    taken = digits == b" 15 "
    assert (check(reader, data) is not None) is taken
    assert (check(RequestReader(SERVER, CLIENT), data) is not None) is taken


@pytest.mark.parametrize("body", [b"", b"x" * 14, b"x" * 16, SMUGGLED])
def test_a_known_head_takes_no_other_body_than_it_declares(body):
    reader, usual = RequestReader(SERVER, CLIENT), shortened(b"x" * 15)
    check(reader, usual)
    assert check(reader, usual[:-15] + body) is None
    assert check(reader, shortened(b"")) is None


@pytest.mark.parametrize("more", [b"\r\n", b"x", get()])
def test_a_known_get_takes_no_body(more):
    reader = RequestReader(SERVER, CLIENT)
    check(reader, get())
    assert check(reader, get() + more) is None


def test_a_known_head_takes_no_request_beyond_the_limit():
    reader, rest = RequestReader(SERVER, CLIENT), len(shortened(b"x" * 10_000)) - 10_000
    check(reader, shortened(b"x"))
    assert check(reader, shortened(b"x" * (MAX_REQUEST_BYTES - rest))) is not None
    assert check(reader, shortened(b"x" * (MAX_REQUEST_BYTES - rest + 1))) is None


# --- what may change in between


def test_a_known_head_ends_with_its_template():
    fast_path, reader = make_fast_path(PLAIN), RequestReader(SERVER, CLIENT)
    assert check(reader, post(), fast_path) is not None
    assert check(reader, post(), make_fast_path()) is None
    assert check(reader, post(), make_fast_path(({}, (), SECURE)))[0].scope["scheme"] == "https"


def test_a_known_head_ends_with_the_headers_that_name_a_scheme():
    reader, data = RequestReader(SERVER, CLIENT), post(TAGS, "X-Forwarded-Proto: https")
    schemes = [
        check(reader, data, FAST_PATHS[1], names)[0].scope["scheme"] for names in ((), SCHEME, ())
    ]
    assert schemes == ["http", "https", "http"]
    assert check(reader, data, FAST_PATHS[0], SCHEME) is None


def test_each_viewer_behind_a_known_head_gets_its_own_answer(live_world, wired):
    requests = {
        user: post(NOTES, *([bearer(getattr(live_world, user))] if user else []))
        for user in ("ann", "bob", "")
    }
    wired.learn(*requests.values())
    expected = {user: contents(wired.ask(data)) for user, data in requests.items()}
    before = wired.fast_path_answers
    users = ["ann", "ann", "bob", "ann", "", "bob", "bob", "", ""]

    async def ask(client):
        return [contents(await client.ask(requests[user])) for user in users]

    assert wired.run(ask) == [expected[user] for user in users]
    assert wired.fast_path_answers == before + len(users)
    assert b"private of ann" in expected["ann"][3]
    assert b"private of ann" not in expected["bob"][3] + expected[""][3]


@pytest.mark.parametrize(
    "change",
    [(b"Length: ", b"Length: 0"), (b"Length: ", b"Length: +"), (b"\r\n\r\n", b"\r\n\r\n ")],
)
def test_the_server_gets_other_bytes_behind_a_known_head(wired, change):
    wired.learn(post())
    before = wired.fast_path_answers

    async def ask(client):
        found = [await client.ask(post()), await client.ask(post())]
        assert wired.fast_path_answers == before + 2
        await client.send(post().replace(*change))
        return found + await client.rest()

    answers = wired.run(ask)
    assert [each.status for each in answers[:2]] == [200, 200]
    assert wired.fast_path_answers == before + 2
