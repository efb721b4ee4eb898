"""Changes to a valid request. Each takes the request and a random generator."""

from collections.abc import Callable
from random import Random
from typing import Any

ALL: list[Callable[[Any, Random], None]] = []
TEXTS = [b"", b"\xff", b"\xc3\xa9", b"\x00", b"\x07", b"\t", b"x" * 200, b'"', b",", b"a, b"]


def change(function: Callable[[Any, Random], None]) -> Callable[[Any, Random], None]:
    """Register a change."""
    ALL.append(function)
    return function


def add(request: Any, random: Random, line: bytes) -> None:
    """Add a header line at a random position."""
    request.lines.insert(random.randint(0, len(request.lines)), line)


def without(request: Any, name: bytes) -> None:
    """Remove the lines of a header."""
    request.lines = [li for li in request.lines if not li.lower().startswith(name.lower() + b":")]


@change
def method(request, random):
    request.method = random.choice([
        b"GET", b"POST", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"PATCH", b"TRACE", b"CONNECT",
        b"get", b"Post", b"G@T", b"X" * 20, b"X" * 21, b"GET#", b"FOO", b"M-SEARCH", b"PRI", b"",
    ])  # fmt: skip


@change
def version(request, random):
    request.version = random.choice([
        b"HTTP/1.0", b"HTTP/1.0", b"HTTP/1.1", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.2", b"HTTP/1.10",
        b"http/1.1", b"HTTP/1", b"HTTP/01.1", b"HTTP/1.1 ", b"", b"HTTPS/1.1", b"HTTP/3.0",
    ])  # fmt: skip


@change
def first_line(request, random):
    m, t, v = request.method, request.target, request.version
    request.first = random.choice([
        m + b"  " + t + b" " + v, m + b"\t" + t + b" " + v, m + b" " + t, m, b" " + m + b" " + t +
        b" " + v, m + b" " + t + b" x " + v, m + b" " + t + b"  " + v, m + b" " + t + b" " + v +
        b" ", m + b" " + t + b"\x00 " + v, m + b" " + t + b"\xe9 " + v, m + b" " + t + b"\x7f " + v,
        m + b" " + t + b"\t " + v, m + b" " + t + b"#part " + v, m + b" " + t + b"\r " + v,
    ])  # fmt: skip


@change
def empty_lines(request, random):
    request.prefix = random.choice([b"\r\n", b"\r\n\r\n", b"\n", b"\r\n" * 10, b" \r\n", b"\r"])


@change
def line_ends(request, random):
    request.end = random.choice([b"\n", b"\r", b"\r\r\n", b"\n\r", b" \r\n"])


@change
def path(request, random):
    path, mark, query = request.target.partition(b"?")
    path = random.choice([
        b"//graphql", b"/graphql/", b"/%67raphql", b"/./graphql", b"/x/../graphql", b"/graphql;x",
        b"/graphql%00", b"/graphql%2f", b"/graphql%20", b"/graphql%", b"/%ff", b"/%c3%a9",
        b"/%e2%82%ac", b"/graphql%3fquery={me{id}}", b"/GRAPHQL", b"/graphql.", b"/graphql//",
        b"/\\graphql", b"/graphql\\", b"/%2egraphql", b"/%2fgraphql", b"/%25%36%37raphql",
        b"/admin/%c3%28", b"/static/%2e%2e/manage.py", b"/static/../manage.py", b"/%6civez",
        b"/livez/", b"//livez", b"/livez%00", b"/static/admin/css/%62ase.css", b"/admin/?next=//x",
        b"///", b"/%0d%0aX:y", b"/graphql%0a", b"/admin%0d%0aSet-Cookie:x=y", b"/%f0%9f%98%80/",
    ])  # fmt: skip
    request.target = path + mark + query


@change
def target(request, random):
    rest = request.target
    request.target = random.choice([
        b"http://localhost" + rest, b"http://foreign" + rest, b"https://localhost" + rest,
        b"http://localhost:1/%67raphql", b"http://u:p@localhost" + rest, b"http://localhost", b"*",
        b"localhost:80", b"localhost", b"HTTP://localhost" + rest, b"ftp://localhost" + rest,
        b"http:///graphql", b"?query={me{id}}", b"graphql?query={me{id}}", b"//localhost" + rest,
        b"http://[::1]" + rest, b"http://" + rest, b"/:80/graphql", b":80", b"localhost:graphql",
        b"mailto:x@y", b"http://foreign/x" + rest, b"http:/graphql", b"http:graphql",
    ])  # fmt: skip


@change
def query(request, random):
    path, _, query = request.target.partition(b"?")
    odd = random.choice([
        b"%ff=1", b"&&&", b"query=%7bme%7bid%7d%7d", b"%00", b"a=%zz", b"a=b;c=d", b"?", b"??a",
        b"query={me{id}}&query={tags{name}}", b"query=", b"=", b"%", b"a+b",
        b"variables={%22a%22:1}",
        b"query=%c3%28", b'query="', b"[x]=|", b"a=`", b"a=<>", b"query={me{id}}%00", b"x" * 5000,
        b"extensions={}", b"operationName=x", b"query=%ed%a0%80", b"\xc3\xa9", b"\xff", b"#x",
    ])  # fmt: skip
    request.target = path + b"?" + random.choice([odd, query + b"&" + odd, odd + b"&" + query])


@change
def host(request, random):
    without(request, b"host")
    for line in random.choice([
        [], [b"Host: foreign"], [b"Host:"], [b"Host: localhost:80"], [b"Host: localhost:x"],
        [b"Host: u@localhost"], [b"Host: localhost", b"Host: localhost"], [b"Host: LOCALHOST"],
        [b"Host: localhost", b"Host: foreign"], [b"Host: foreign", b"Host: localhost"],
        [b"Host: a.example.org"], [b"Host: localhost."], [b"Host: [::1]:80"], [b"Host: 127.0.0.1"],
        [b"Host: localhost, foreign"], [b"Host: localhost/x"], [b"Host: local host"],
        [b"Host: localhost\xe9"], [b"Host: localhost#"], [b"Host: ../localhost"],
        [b"Host: localhost:99999999"], [b"Host: \tlocalhost \t"], [b"Host: 127.0.0.1:8000"],
    ]):  # fmt: skip
        add(request, random, line)


@change
def forwarded(request, random):
    for _ in range(random.choice([1, 1, 2])):
        name = random.choice([
            b"X-Forwarded-For", b"X_Forwarded_For", b"X-Forwarded-Proto", b"X_Forwarded_Proto",
            b"X-Forwarded-Host", b"X-Forwarded-Port", b"X-Forwarded-Ssl", b"X-Forwarded-Protocol",
            b"X_Forwarded_Host", b"Forwarded", b"X-Real-IP", b"Forwarder", b"Script-Name",
            b"SCRIPT_NAME", b"Path-Info", b"PATH_INFO", b"Remote-User", b"REMOTE_USER",
            b"REMOTE_ADDR", b"X-Script-Name",
        ])  # fmt: skip
        add(request, random, name + b": " + random.choice([
            b"https", b"http", b"on", b"ssl", b"1.2.3.4", b"foreign", b"/graphql", b"1.2.3.4, x",
            b"", b"443", b"\xff",
        ]))  # fmt: skip


@change
def underscores(request, random):
    add(request, random, random.choice([
        b"Content_Length: 3", b"Content_Type: text/html", b"X_Request_ID: other", b"HTTP_HOST: x",
        b"Authorization_: Bearer test-token", b"_: x", b"Transfer_Encoding: chunked",
        b"Content-Type_: x", b"Accept_Encoding: gzip", b"X_Request_Timeout: 1",
        b"Cache_Control: no-store", b"If_None_Match: *", b"Host_: foreign", b"CONTENT_LENGTH: 0",
    ]))  # fmt: skip


@change
def repeated(request, random):
    for line in random.choice([
        [b"Authorization: Bearer test-token"], [b"Authorization: Bearer wrong-token"],
        [b"Authorization: Bearer test-token", b"Authorization: Bearer test-token"],
        [b"Authorization: Bearer test-token", b"AUTHORIZATION: Bearer other-token"],
        [b"Content-Type: text/plain"], [b"Content-Type: application/json"],
        [b"Accept: text/html", b"Accept: application/json"], [b"Cookie: a=b", b"Cookie: c=d"],
        [b"Accept: application/json", b"Accept: text/plain;q=0"], [b"X-Request-ID: second"],
        [b"Accept-Encoding: gzip", b"Accept-Encoding: identity;q=0"], [b"Origin: a", b"Origin: b"],
        [b"Cache-Control: x", b"Cache-Control: no-store"], [b"Content-Encoding: gzip"],
        [b'If-None-Match: "x"', b"If-None-Match: *"], [b"X-Request-Timeout: 3"] * 2,
    ]):  # fmt: skip
        add(request, random, line)


@change
def known_headers(request, random):
    name = random.choice([
        b"Accept", b"Accept-Encoding", b"Cookie", b"Origin", b"If-None-Match", b"Cache-Control",
        b"Content-Encoding", b"Range", b"X-Request-Timeout", b"Authorization", b"Referer",
        b"If-Modified-Since", b"Accept-Language", b"Access-Control-Request-Method", b"X-CSRFToken",
    ])  # fmt: skip
    add(request, random, name + b": " + random.choice([*TEXTS, *[
        b"*/*", b"application/json", b"text/html", b"gzip", b"br, gzip;q=0", b"no-store", b"*",
        b"bytes=0-5", b"http://localhost", b"Bearer test-token", b"bearer  test-token", b"null",
        b"Thu, 01 Jan 1970 00:00:00 GMT", b"de", b"csrftoken=abc",
        b"application/graphql-response+json",
    ]]))  # fmt: skip


@change
def odd_lines(request, random):
    line = random.choice([
        b" folded", b"\tfolded: x", b"X : y", b"X\t: y", b": y", b"X", b"X:y", b"X:  y  ", b"X:\ty",
        b"X@: y", b"X(: y", b"\xe9: y", b"X\x00: y", b"X: \x00", b"X: \x7f", b"X: a\rb", b"X: a\nb",
        b"X: \xc3\xa9", b"X;: y", b'"X": y', b"X: y\n z", b"Content-Length : 3", b" Host: foreign",
        b"Transfer-Encoding : chunked", b"\x0bX: y", b"X:\x0by", b"X: y\r", b"Host : foreign",
    ])  # fmt: skip
    add(request, random, line)


@change
def connection(request, random):
    for line in random.choice([
        [b"Connection: close"], [b"Connection: keep-alive"], [b"Connection: CLOSE"],
        [b"Connection: close, x"], [b"Connection: x, close"], [b"Connection: upgrade"],
        [b"Connection: keep-alive", b"Connection: close"], [b"Connection:"], [b"Connection: x"],
        [b"Connection: close", b"Connection: keep-alive"], [b"Connection: keep-alive, close"],
        [b"Connection: upgrade", b"Upgrade: websocket"], [b"Upgrade: h2c"],
        [b"Connection: \tclose "],
        [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c",
        b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"],
        [b"Proxy-Connection: close"], [b"Keep-Alive: timeout=5"], [b"Connection: authorization"],
        [b"TE: trailers"], [b"Expect: 100-continue"], [b"Expect: 100-Continue"], [b"Expect: x"],
        [b"Expect: 100-continue", b"Expect: x"], [b"Expect:"], [b"Trailer: Host"],
    ]):  # fmt: skip
        add(request, random, line)


@change
def many_headers(request, random):
    have = len(request.lines) + len(request.framing)
    for number in range(random.choice([99, 100, 101, 150]) - have):
        request.lines.append(b"X-%d: y" % number)


@change
def long_header(request, random):
    name = random.choice([b"X", b"X-Request-ID", b"Cookie", b"Authorization", b"Accept"])
    size = random.choice([8185, 8186, 8187, 8188, 8189, 8190, 8191, 8192, 8193, 20_000])
    add(request, random, name + b": " + b"y" * (size - len(name) - 2))


@change
def long_line(request, random):
    size = random.choice([8188, 8189, 8190, 8191, 8192, 8193, 20_000])
    mark = b"&" if b"?" in request.target else b"?"
    have = len(b" ".join([request.method, request.target, request.version])) + 3
    request.target += mark + b"x=" + b"y" * (size - have)


@change
def length(request, random):
    size = len(request.body)
    good = b"%d" % size
    request.framing = [b"Content-Length: " + value for value in random.choice([
        [good], [b"%d" % max(size - 1, 0)], [b"%d" % (size + 1)], [b"%d" % (size + 40)],
        [good, good], [good, b"%d" % (size + 1)], [b"+" + good], [b"-" + good], [b"-1"],
        [b"0x%x" % size], [b" " + good + b" "], [good + b", " + good], [good + b"," ], [b""],
        [b"00" + good], [good + b".0"], [good + b" 1"], [b"1_0"], [b"9" * 30], [b"\xb2"], [b"a"],
        [b"18446744073709551616"], [b"9223372036854775807"], [], [b"0"], [b"1", b"0"], [b"2000000"],
    ])]  # fmt: skip
    request.written = None


@change
def chunks(request, random):
    body = request.body or random.choice([b"", b"x", b"GET / HTTP/1.1\r\n\r\n"])
    size, half = len(body), len(body) // 2
    request.framing = random.choice([
        [b"Transfer-Encoding: chunked"], [b"Transfer-Encoding: CHUNKED"],
        [b"transfer-encoding:chunked"], [b"Transfer-Encoding: chunked "],
        [b"Transfer-Encoding: \tchunked"],
        [b"Transfer-Encoding: identity"], [b"Transfer-Encoding: gzip, chunked"],
        [b"Transfer-Encoding: chunked, identity"], [b"Transfer-Encoding: chunked, chunked"],
        [b"Transfer-Encoding: chunked"] * 2, [b"Transfer-Encoding: xchunked"],
        [b"Transfer-Encoding: gzip"], [b"Transfer-Encoding: chunked;q=1"],
        [b"Transfer-Encoding: identity, chunked"], [b"Transfer-Encoding:"],
        [b"Transfer-Encoding: ,chunked"], [b'Transfer-Encoding: "chunked"'],
        [b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip"],
        [b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"],
        [b"Transfer-Encoding: \x0bchunked"], [b"Transfer-Encoding: chunked,"],
        [b"Transfer-Encoding: chunked", b"Content-Length: %d" % size],
        [b"Content-Length: %d" % size, b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: identity", b"Content-Length: %d" % size],
        *[[b"Transfer-Encoding: chunked"]] * 20,
    ])  # fmt: skip
    whole = b"%x\r\n%b\r\n0\r\n\r\n" % (size, body) if size else b"0\r\n\r\n"
    request.written = whole
    if size and random.random() < 0.7:
        request.written = random.choice([
            b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (half, body[:half], size - half, body[half:]),
            b"%X\r\n%b\r\n0\r\n\r\n" % (size, body), b"00%x\r\n%b\r\n000\r\n\r\n" % (size, body),
            b"%x;a=b\r\n%b\r\n0;c\r\n\r\n" % (size, body),
            b'%x;a="b;c"\r\n%b\r\n0\r\n\r\n' % (size, body),
            b"%x \r\n%b\r\n0\r\n\r\n" % (size, body), b" %x\r\n%b\r\n0\r\n\r\n" % (size, body),
            b"0x%x\r\n%b\r\n0\r\n\r\n" % (size, body), b"+%x\r\n%b\r\n0\r\n\r\n" % (size, body),
            b"-%x\r\n%b\r\n0\r\n\r\n" % (size, body), b"%x\n%b\n0\n\n" % (size, body),
            b"%x\r\n%b0\r\n\r\n" % (size, body), b"%x\r\n%bXX0\r\n\r\n" % (size, body),
            b"%x\r\n%b\r\n0\r\nX: y\r\n\r\n" % (size, body), b"g\r\n%b\r\n0\r\n\r\n" % body,
            b"%x\r\n%b\r\n0\r\nHost: x\r\n\r\n" % (size, body),
            b"%x\r\n%b\r\n0\r\nContent-Length: 9\r\n\r\n" % (size, body),
            b"%x\r\n%b\r\n0\r\nX\r\n\r\n" % (size, body),
            b"%x\r\n%b\r\n0\r\n X: y\r\n\r\n" % (size, body),
            b"%x\r\n%b\r\n0\r\nX: a\nb\r\n\r\n" % (size, body), b"\r\n%b\r\n0\r\n\r\n" % body,
            b"%x;\n\r\n%b\r\n0\r\n\r\n" % (size, body),
            b"%x;a\rb\r\n%b\r\n0\r\n\r\n" % (size, body),
            b"%x\r\n%b\r\n" % (size, body), b"%x\r\n%b\r\n0\r\n" % (size, body),
            b"ffffffffffffffff%x\r\n%b\r\n0\r\n\r\n" % (size, body),
            b"%x_0\r\n%b\r\n0\r\n\r\n" % (size, body),
            b"10000000000000000%02x\r\n%b\r\n0\r\n\r\n" % (size, body),
            b"%x;%b\r\n%b\r\n0\r\n\r\n" % (size, b"e" * 9000, body),
            b"%x\t\r\n%b\r\n0\r\n\r\n" % (size, body), b"%x;\x00\r\n%b\r\n0\r\n\r\n" % (size, body),
            b"%x;a= b\r\n%b\r\n0\r\n\r\n" % (size, body),
            b"%x ;a=b\r\n%b\r\n0\r\n\r\n" % (size, body),
            whole[:-2], whole[:-1], whole + b"\r\n",
            b"%x\r\n%b\r\n0\r\n%b\r\n" % (size, body, b"X: y\r\n" * 101),
        ])  # fmt: skip
