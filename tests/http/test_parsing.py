"""Plain requests, which are parsed at once: always as gunicorn alone would understand them."""

import socket
from contextlib import closing
from types import SimpleNamespace

import pytest
from gunicorn.config import Config
from gunicorn.http import wsgi
from gunicorn.http.parser import RequestParser
from hypothesis import given
from hypothesis import strategies as st

from pcf.http.parsing import PlainParser, PlainRequest, _key
from pcf.http.worker import Settings

FIRST = b"GET /first?a=b HTTP/1.1\r\nHost: first\r\nX-First: 1\r\nX-Forwarded-Proto: https\r\n\r\n"
PLAIN = b"POST /graphql?x=%20y HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody"
OTHERS = ("wsgi.input", "wsgi.early_hints", "wsgi.errors", "gunicorn.socket")  # by identity

TRUSTED, STRANGER = ("127.0.0.1", 1), ("192.0.2.1", 1)
SERVER = ("127.0.0.1", 8080)


def read(data, *, after_first, client=TRUSTED, server=SERVER, **given_settings):
    """What a connection's parser makes of ``data``: each request's kind, environ, body and whether
    it closes; at the end the error's name. With ``after_first`` a request came before.
    """
    config = Config()
    for name, value in given_settings.items():
        config.set(name, value)
    config = Settings(config)
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        conn = SimpleNamespace(cfg=config, client=client, server=server)
        conn.parser = RequestParser(config, ours, client)
        if after_first:
            theirs.sendall(FIRST)
            _, environ = wsgi.create(next(conn.parser), ours, client, server, config)
            PlainParser.after(conn, environ)
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        return list(_requests(conn, ours))


def _requests(conn, line):
    while True:
        try:
            request = next(conn.parser)
            if type(request) is PlainRequest:
                environ = request.environ
            else:
                _, environ = wsgi.create(request, line, conn.client, conn.server, conn.cfg)
            body = environ["wsgi.input"].read()
        except Exception as error:  # noqa: BLE001 - whichever it is
            yield type(error).__name__
            return
        closes = request.should_close()
        known = {name: value for name, value in environ.items() if name not in OTHERS}
        yield type(request) is PlainRequest, known, body, closes
        if closes:
            return


def told(data, **how):
    """What is understood, whoever understood it."""
    return [one if isinstance(one, str) else one[1:] for one in read(data, **how)]


def is_plain(data, **how):
    return [one if isinstance(one, str) else one[0] for one in read(data, after_first=True, **how)]


@pytest.mark.parametrize(
    "data",
    [
        PLAIN,
        b"GET /graphql?query=%7Ba%7D HTTP/1.1\r\nHost: h\r\n\r\n",
        b"HEAD / HTTP/1.0\r\nHost: h\r\nConnection: Keep-Alive\r\n\r\n",
        b"OPTIONS /graphql HTTP/1.1\r\nhost: h\r\nOrigin: http://x\r\nContent-Length: 0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Proto: https\r\nCookie: a=\xe4\r\n\r\n",
    ],
)
def test_usual_requests_are_plain_and_understood_alike(data):
    assert is_plain(data) == [True, "StopIteration"]
    assert told(data, after_first=True) == told(data, after_first=False)


NOT_PLAIN = {
    "body in two pieces": b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nbody",
    "chunked": b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    "two framings": (
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\nbody"
    ),
    "two lengths": b"POST / HTTP/1.1\r\nContent-Length: 4\r\nContent-Length: 0\r\n\r\nbody",
    "no length": b"POST / HTTP/1.1\r\nContent-Length: +4\r\n\r\nbody",
    "a superscript": b"POST / HTTP/1.1\r\nContent-Length: \xb2\r\n\r\nbody",
    "a length of many digits": (
        b"POST / HTTP/1.1\r\nContent-Length: " + b"0" * 5000 + b"4\r\n\r\nbody"
    ),
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "a header twice": b"GET / HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a: 2\r\n\r\n",
    "an underscore": b"GET / HTTP/1.1\r\nHost: h\r\nX_A: 1\r\n\r\n",
    "a proxy's path": b"GET /a/b HTTP/1.1\r\nHost: h\r\nScript_Name: /a\r\n\r\n",
    "expectation": b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody",
    "upgrade": b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    "two schemes": (
        b"GET / HTTP/1.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n\r\n"
    ),
    "whole address": b"GET http://h/graphql?a HTTP/1.1\r\nHost: h\r\n\r\n",
    "no path": b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
    "path of slashes": b"GET //a//b HTTP/1.1\r\nHost: h\r\n\r\n",
    "escaped path": b"GET /%67raphql HTTP/1.1\r\nHost: h\r\n\r\n",
    "fragment": b"GET /graphql?a#b HTTP/1.1\r\nHost: h\r\n\r\n",
    "target in UTF-8": b"GET /gr\xc3\xa4ph HTTP/1.1\r\nHost: h\r\n\r\n",
    "long header": b"GET / HTTP/1.1\r\nX-A: " + b"a" * 9000 + b"\r\n\r\n",
    "many headers": (
        b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(101)) + b"\r\n"
    ),
    "lower-case method": b"get / HTTP/1.1\r\nHost: h\r\n\r\n",
    "HTTP/2": b"GET / HTTP/2.0\r\nHost: h\r\n\r\n",
    "folded header": b"GET / HTTP/1.1\r\nX-A: 1\r\n 2\r\n\r\n",
    "control character": b"GET / HTTP/1.1\r\nX-A: 1\x002\r\n\r\n",
    "half a head": b"GET / HTTP/1.1\r\nHost",
    "garbage": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_PLAIN)
def test_what_is_not_plain_is_left_to_gunicorn(name):
    data = NOT_PLAIN[name]
    assert True not in is_plain(data)
    assert told(data, after_first=True) == told(data, after_first=False)


def test_requests_that_come_together_are_parsed_one_after_another():
    chunked = b"POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
    data = PLAIN + chunked + PLAIN + PLAIN[:-1]
    assert is_plain(data) == [True, False, True, False, "StopIteration"]
    assert told(data, after_first=True) == told(data, after_first=False)
    assert [one[2] for one in read(data, after_first=True)[:-1]] == [b"body", b"x", b"body", b"bod"]


def test_nothing_of_one_request_is_in_the_next_one():
    _, environ, _, _ = read(PLAIN, after_first=True)[0]
    assert "HTTP_X_FIRST" not in environ
    assert (environ["wsgi.url_scheme"], environ["HTTP_HOST"]) == ("http", "h")
    headers = b"X-A: 1\r\nAuthorization: Bearer secret\r\n"
    data = PLAIN.replace(b"Host", headers + b"Host") + PLAIN
    first, second, _ = read(data, after_first=True)
    assert first[1].keys() - second[1].keys() == {"HTTP_X_A", "HTTP_AUTHORIZATION"}


@pytest.mark.parametrize(("client", "scheme"), [(TRUSTED, "https"), (STRANGER, "http")])
def test_only_a_trusted_proxy_says_what_the_scheme_is(client, scheme):
    data = PLAIN.replace(b"Host", b"X-Forwarded-Proto: https\r\nHost")
    kind, environ, _, _ = read(data, after_first=True, client=client)[0]
    assert (kind, environ["wsgi.url_scheme"]) == (True, scheme)
    data = data.replace(b"https", b"http")
    assert read(data, after_first=True, client=client)[0][1]["wsgi.url_scheme"] == "http"


def test_behind_a_socket_of_the_file_system_the_host_is_the_servers_name():
    there = {"client": "", "server": "/run/pcf.sock"}
    same = PLAIN.replace(b"Host: h", b"X-Forwarded-Proto: https\r\nHost: first")
    assert is_plain(same + PLAIN, **there) == [True, False, "StopIteration"]
    for data in (same, PLAIN, same.replace(b"https", b"http")):
        assert told(data, after_first=True, **there) == told(data, after_first=False, **there)


@pytest.mark.parametrize(
    "given_settings",
    [
        {"http_parser": "python"},
        {"casefold_http_method": True},
        {"permit_unconventional_http_method": True},
        {"permit_unconventional_http_version": True},
        {"certfile": "x", "keyfile": "y"},
    ],
)
def test_with_rarer_settings_gunicorn_parses_everything(given_settings):
    assert is_plain(PLAIN, **given_settings) == [False, "StopIteration"]


def test_below_a_path_gunicorn_parses_everything(monkeypatch):
    monkeypatch.setenv("SCRIPT_NAME", "/first")
    assert is_plain(PLAIN.replace(b"/graphql", b"/first/x")) == [False, "StopIteration"]


def test_spellings_of_headers_do_not_fill_the_memory(monkeypatch):
    names = {}
    monkeypatch.setattr("pcf.http.parsing._keys", names)
    for number in range(1000):
        assert _key(b"X-%d" % number) == f"HTTP_X_{number}"
    assert len(names) == 256


_names = st.sampled_from(
    ["Host", "HOST", "Content-Length", "content-length", "Content-Type", "Connection", "Accept",
     "X-A", "x-a", "X_A", "Script_Name", "Expect", "Transfer-Encoding", "X-Forwarded-Proto",
     "X-Forwarded-Ssl", "X-Forwarded-Protocol", "Authorization", "Upgrade", "Forwarded", "a b", ""]
)  # fmt: skip
_values = st.sampled_from(
    ["0", "4", "5", "h", "close", "keep-alive", "Close", " keep-alive ", "chunked", "https", "on",
     "ssl", "100-continue", "\xe4", "\xb2", "4, 4", "-1", "", "a\tb", "h2c", "application/json"]
)  # fmt: skip
_bodies = st.sampled_from(["", "body", "body!", "4\r\nbody\r\n0\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"])
_lines = {
    False: (
        st.sampled_from(["GET", "POST", "get", "PRI", "M-X", ""]),
        st.sampled_from(["/", "//a", "/%41", "*", "/a#b", "http://h/a", "a", ""]),
        st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1", ""]),
    ),
    True: (
        st.sampled_from(["GET", "POST", "HEAD", "M-X"]),
        st.sampled_from(["/", "/graphql", "/a?b=%20c", "/a?b?c", "/a;b"]),
        st.sampled_from(["HTTP/1.1", "HTTP/1.1", "HTTP/1.0"]),
    ),
}


@st.composite
def requests(draw):
    """The text of one: sane, with a header or two that may be anything, or anything at all."""
    sane = draw(st.booleans())
    body = draw(_bodies)
    headers = draw(st.lists(st.tuples(_names, _values), max_size=2 if sane else 5))
    if sane:
        headers = [("Host", "h"), ("Content-Length", str(len(body))), *headers]
    head = " ".join(map(draw, _lines[sane])) + "\r\n"
    return head + "".join(f"{name}: {value}\r\n" for name, value in headers) + f"\r\n{body}"


@given(st.lists(requests(), min_size=1, max_size=3), st.sampled_from([TRUSTED, STRANGER]))
def test_whatever_comes_is_understood_as_by_gunicorn_alone(texts, client):
    data = "".join(texts).encode("latin-1")
    how = {"client": client, "header_map": "drop"}
    assert told(data, after_first=True, **how) == told(data, after_first=False, **how)
