"""The fast path takes requests in their usual form; the server gets those in other forms."""

import json

import pytest

from pcf.server.fast_path import MAX_HEADERS, MAX_LINE_BYTES, MAX_REQUEST_BYTES
from tests.server.test_fast_path import NOTES, TAGS, get, parsed, post
from tests.server.wired import contents, wire, wired

__all__ = ["wire", "wired"]

LONG = TAGS + " " * MAX_REQUEST_BYTES
BODY = json.dumps({"query": TAGS}).encode()
LENGTH = b"Content-Length: %d" % len(BODY)
BATCH = b'[{"query":"{tags{id name}}"}]'.ljust(len(BODY))
CHUNKED = (
    post()
    .replace(LENGTH, b"Transfer-Encoding: chunked")
    .replace(BODY, b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY))
)

USUAL = {
    "kept": post(TAGS, "Connection: keep-alive"),
    "named": post(TAGS, "X-Request-ID: a"),
    "in a hurry": post(TAGS, "X-Request-Timeout: 5"),
    "with a tag": get(TAGS, 'If-None-Match: "a"'),
    "not to be stored": post(TAGS, "Cache-Control: no-store"),
    "a mutation": post("mutation { __typename }"),
    "a mutation by GET": get("mutation { __typename }"),
    "of a stranger": post("{ me { id } }", "Authorization: Bearer unknown"),
    "invalid": post("{ nothing }"),
    "no JSON": post().replace(b'"query"', b"query  "),
    "a batch": post().replace(BODY, BATCH),
    "for an unknown host": post().replace(b"localhost", b"elsewhere"),
    "with spaces around a value": post(TAGS, "Accept:   application/json  "),
    "without a space before a value": post(TAGS, "Accept:application/json"),
    "in lower case": post().replace(b"Content-Length", b"content-length"),
}  # fmt: skip

OTHER_FORMS = {
    "closed": post(TAGS, "Connection: close"),
    "of the old version": post(version="1.0"),
    "of the old version and kept": post(TAGS, "Connection: keep-alive", version="1.0"),
    "expecting": post(TAGS, "Expect: 100-continue"),
    "upgrading": post(TAGS, "Upgrade: websocket"),
    "too large": post(LONG),
    "chunked": CHUNKED,
    "with two framings": CHUNKED.replace(b"\r\nTransfer", b"\r\nContent-Length: 4\r\nTransfer"),
    "with a header twice": post(TAGS, "Accept: */*", "Accept: text/html"),
    "with its length twice": post(TAGS, LENGTH.decode()),
    "with another length twice": post(TAGS, "Content-Length: 31"),
    "with a signed length": post().replace(b"Length: ", b"Length: +"),
    "with a padded length": post().replace(b"Length: ", b"Length: 0"),
    "with two hosts": post(TAGS, "Host: elsewhere"),
    "without a host": post().replace(b"Host: localhost\r\n", b""),
    "for a strange host": post().replace(b"localhost", b"local host"),
    "with a folded header": post(TAGS, "Accept: application/json,", " */*"),
    "with a space before the colon": post(TAGS, "Accept : */*"),
    "with an underscore": post(TAGS, "X_Request_ID: a"),
    "with a header without a name": post(TAGS, ": a"),
    "with a header without a colon": post(TAGS, "Accept"),
    "with a tab": post(TAGS, "Accept: */*\t"),
    "with a control character": post(TAGS, "Accept: */*\x01"),
    "with a byte of zero": post(TAGS, "Accept: */*\0"),
    "with a bare line feed": post().replace(b"\r\nContent-Type", b"\nContent-Type"),
    "with a bare carriage return": post(TAGS, "Accept: */*\rX: y"),
    "with a byte beyond ASCII": post(TAGS, "Accept: */*, \xe9"),
    "after an empty line": b"\r\n" + post(),
    "in absolute form": post().replace(b"/graphql", b"http://localhost/graphql"),
    "with an encoded path": post().replace(b"/graphql", b"/graph%71l"),
    "with a fragment": post().replace(b"/graphql", b"/graphql#a"),
    "with two spaces": post().replace(b"POST /", b"POST  /"),
    "of another method": post().replace(b"POST", b"PUT"),
    "in a method of lower case": post().replace(b"POST", b"post"),
    "with a body in a GET": get(TAGS, "Content-Length: 4") + b"abcd",
    "a POST without a body": post().replace(LENGTH + b"\r\n", b"").replace(BODY, b""),
    "with another type": post().replace(b"application/json", b"text/plain"),
    "with wrong credentials": post(TAGS, "Authorization: Basic eDp5"),
    "compressed": post(TAGS, "Content-Encoding: gzip"),
    "for another path": post().replace(b"/graphql", b"/nowhere"),
    "with a long line": post(TAGS, "X-Long: " + "a" * MAX_LINE_BYTES),
    "with many headers": post(TAGS, *[f"X-{n}: a" for n in range(MAX_HEADERS)]),
}  # fmt: skip


@pytest.mark.parametrize("name", USUAL)
def test_the_fast_path_takes_a_request_in_its_usual_form_and_answers_as_the_server(wired, name):
    wired.learn(post(), get())
    wired.ask(post().replace(b"localhost", b"elsewhere"))
    expected, before = parsed(wired, USUAL[name]), wired.fast_path_answers
    answer = wired.ask(USUAL[name])
    assert wired.fast_path_answers == before + 1
    same_status = "cache-status" in dict(answer.headers)
    assert contents(answer)[:2] == contents(expected)[:2]
    assert same_status == ("cache-status" in dict(expected.headers))
    assert json.loads(answer.body or b"null") == json.loads(expected.body or b"null") or (
        "requestId" in answer.body.decode()
    )
    assert (answer.get("x-request-id") == "a") == (name == "named")


@pytest.mark.parametrize("name", OTHER_FORMS)
def test_the_server_gets_a_request_in_another_form(wired, name):
    wired.learn(post(), get())
    before = wired.fast_path_answers
    request = OTHER_FORMS[name]

    async def ask(client):
        await client.send(request)
        return await client.rest()

    first, second = (wired.run(ask) for _ in range(2))
    assert wired.fast_path_answers == before
    assert [(each.status, each.version) for each in first] == [
        (each.status, each.version) for each in second
    ]


def test_the_fast_path_takes_the_largest_request_that_it_may(wired):
    request = post(TAGS + " " * (MAX_REQUEST_BYTES - len(post()) - 3))  # a length of five digits
    assert len(request) == MAX_REQUEST_BYTES
    wired.learn(post())
    before = wired.fast_path_answers
    wired.ask(request)
    assert wired.fast_path_answers == before + 1


@pytest.mark.parametrize("more", [post(NOTES), post(NOTES)[:50], b"\r\n"])
def test_the_server_answers_a_request_that_comes_with_more_data(wired, more):
    wired.learn(post())
    before = wired.fast_path_answers

    async def ask(client):
        await client.send(post() + more)
        return await client.read(2 if more == post(NOTES) else 1)

    for _ in range(3):
        answers = wired.run(ask)
    assert wired.fast_path_answers == before
    assert contents(answers[0]) == contents(parsed(wired, post()))


def test_the_server_answers_a_request_in_two_segments(wired):
    request = post()
    wired.learn(request)
    before = wired.fast_path_answers
    for place in (1, len(request) - 40, len(request) - 3):
        assert wired.ask(request[:place], request[place:]).status == 200
    assert wired.fast_path_answers == before
