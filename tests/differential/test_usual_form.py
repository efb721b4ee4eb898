"""gunicorn's parsers find in the bytes of a fast request this one request and nothing else."""

import os
from random import Random

import pytest

from pcf.server.fast_path import parse_request
from tests.differential.generator import stream_of
from tests.differential.parsers import of_c, of_python
from tests.differential.test_parsers import FIRST, noisy
from tests.server.test_fast_path_forms import OTHER_FORMS, USUAL

STREAMS = 1_000 * int(os.environ.get("PCF_FUZZ_EXAMPLES", "12")) // 12
VARIANTS = 8


def check(data):
    """Compare ``parse_request`` with both parsers; return whether it takes ``data``."""
    found = parse_request(data)
    if found is None:
        return False
    for parsed in (of_c([data]), of_python([data])):
        assert not parsed.refused, (data, parsed.why)
        assert not parsed.truncated, data
        (message,) = parsed.messages
        target = found.path + (f"?{found.query}" if b"?" in data.split(b"\r\n")[0] else "")
        assert (message.method, message.target, message.version) == (found.method, target, (1, 1))
        headers = [(name.encode(), value.encode()) for name, value in found.headers.items()]
        assert message.headers == headers, data
        assert (message.body, message.whole, message.closes) == (found.body.content, True, False)
    return True


def test_gunicorns_parsers_read_the_requests_of_random_streams_alike():
    taken = 0
    for seed in range(FIRST, FIRST + STREAMS):
        stream = stream_of(seed)
        for request in stream.requests:
            taken += check(request.data.replace(b"Connection: close\r\n", b""))
        check(stream.data)
    assert taken > STREAMS / 4


@pytest.mark.parametrize("name", USUAL)
def test_gunicorns_parsers_read_noisy_requests_alike(name):
    assert check(USUAL[name])
    taken = 0
    for seed in range(FIRST, FIRST + STREAMS // VARIANTS):
        taken += check(noisy(USUAL[name], Random(f"{name}/{seed}")))
    assert taken > 0


@pytest.mark.parametrize("name", OTHER_FORMS)
def test_gunicorns_parsers_read_what_noise_makes_of_other_forms_alike(name):
    for seed in range(FIRST, FIRST + STREAMS // VARIANTS):
        check(noisy(OTHER_FORMS[name], Random(f"{name}/{seed}")))
