"""Every intended difference still exists."""

import pytest

from tests.differential.comparison import compare
from tests.differential.generator import Request, Stream, last
from tests.differential.raw_http import answers_in, send
from tests.differential.rules import CONNECTION_IS_A_LIST, RULES


def needed(pair, example: bytes) -> list[str]:
    """Return the rules that a request needs, with a valid request after it."""
    first, _, rest = example.partition(b"\r\n")
    lines = b"\r\nHost: localhost\r\nX-Request-ID: first\r\n"
    stream = Stream(0, [Request("first", whole=first + lines + rest), last("last")], [])
    pcf, plain = (answers_in(send(port, stream.segments)) for port in pair.ports)
    return compare(stream, pcf, plain)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_servers_differ_as_the_rule_says(pair, rule):
    assert needed(pair, rule.example) == [rule.name]


def test_the_servers_differ_about_a_list_in_connection(pair):
    example = b"GET /nope HTTP/1.1\r\nConnection: x, close\r\n\r\n"
    assert needed(pair, example) == [CONNECTION_IS_A_LIST]


def test_the_servers_agree_about_a_valid_request(pair):
    assert needed(pair, b"GET /nope HTTP/1.1\r\n\r\n") == []
