"""gunicorn's C parser returns the requests of its Python parser, for any segments.

The protocol of gunicorn 27 is written for a later version of gunicorn_h1c than the one that is
pinned, so both are driven here as that protocol drives them.
"""

import os
from random import Random

import pytest
from gunicorn_h1c import H1CProtocol

from tests.differential.generator import last, stream_of
from tests.differential.parsers import Frames, frames, of_c, of_python
from tests.differential.test_pipelines import PIPELINES

STREAMS = 60 * int(os.environ.get("PCF_FUZZ_EXAMPLES", "50"))
FIRST = int(os.environ.get("DIFFERENTIAL_SEED", "0"))
NOISE = [
    b"\r", b"\n", b"\0", b" ", b"\t", b":", b"0", b"9", b"a", b",", b";", b"\xff", b"\x7f",
    b"\r\n", b"\x0b", b"\x1f", b'"', b"-", b"_", b"/", b"?", b"#", b"%", b"  ",
]  # fmt: skip

# Refusals of the C parser alone, by message; they are safe.
STRICTER = {
    "Invalid Content-Length value": "it may have 63 bits",
    "Whitespace in chunk size": "none may stand before an extension either",
    "chunk size too large": "it may have 64 bits",
    "chunk size line over": "an extension has the limit of a header",
}
# Refusals of the Python parser alone, by message; none of them changes the framing.
LATER = "the C parser refuses a head when it is whole, the Python parser as soon as it can"
TRAILERS = "the C parser counts trailer fields alone, the Python parser adds the head's"
WIDER = {
    "InvalidRequestLine": "the C parser takes several spaces between the parts of a request line",
    "InvalidHTTPVersion: ": "the C parser takes several spaces before the version",
    "InvalidChunkExtension": "the C parser lets control characters stand in a chunk extension",
}


def difference(c: Frames, python: Frames, data: bytes) -> str | None:
    """The reason for which two parsers may differ about a stream, None where they do not.

    Raises AssertionError when there is none.
    """
    if c == python:
        return None
    same = 0
    for one, other in zip(c.messages, python.messages, strict=False):
        if one != other:
            break
        same += 1
    c_ends = c.refused and all(not message.whole for message in c.messages[same:])
    python_ends = python.refused and all(not m.whole for m in python.messages[same:])
    if c_ends and python_ends:
        return "both refuse, after more or less of a body"
    if c_ends:
        reasons = [why for words, why in STRICTER.items() if words in c.why]
    elif python_ends and len(c.messages) == same and not c.refused:
        reasons = [LATER]
    elif python_ends and "Too many trailer fields" in python.why:
        reasons = [TRAILERS]
    elif python_ends and b"  " in data:
        reasons = [why for words, why in WIDER.items() if python.why.startswith(words)]
    elif python_ends:
        reasons = [WIDER["InvalidChunkExtension"]] * ("InvalidChunkExtension" in python.why)
    else:
        reasons = []
    assert reasons, (data, c, python, c.why, python.why)
    return reasons[0]


def noisy(data: bytes, random: Random) -> bytes:
    """Return ``data`` with a few changed bytes."""
    changed = bytearray(data)
    for _ in range(random.choice([1, 1, 2, 3])):
        place = random.randrange(len(changed))
        length = random.choice([0, 0, 1, 1, 1, 2, 4])
        changed[place : place + length] = random.choice([b"", *NOISE] if length else NOISE)
    return bytes(changed)


def segments(data: bytes, random: Random) -> list[bytes]:
    """Return ``data`` in random segments, some of one byte."""
    if len(data) < 400 and random.random() < 0.3:
        return [data[place : place + 1] for place in range(len(data))]
    places = sorted(random.sample(range(1, len(data)), min(len(data) - 1, random.randint(1, 6))))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


def test_both_parsers_frame_a_stream_alike():
    for seed in range(FIRST, FIRST + STREAMS):
        stream = stream_of(seed)
        c = of_c([stream.data])
        difference(c, of_python([stream.data]), stream.data)
        assert of_c(stream.segments) == c, stream


def test_both_parsers_frame_a_stream_with_noise_alike():
    for seed in range(FIRST, FIRST + STREAMS):
        random = Random(seed)
        data = noisy(stream_of(seed).data[:4_000], random)
        c = of_c([data])
        difference(c, of_python([data]), data)
        assert of_c(segments(data, random)) == c, data


@pytest.mark.parametrize("name", PIPELINES)
def test_the_c_parser_frames_a_pipeline_alike_wherever_it_is_cut(name):
    data = b"".join(request.data for request in PIPELINES[name]())
    whole = of_c([data])
    assert len(whole.messages) == (2 if name == "a bad request" else 4)
    for first in range(1, len(data)):
        assert of_c([data[:first], data[first:]]) == whole, first
        for second in range(first + 1, min(first + 6, len(data))):
            assert of_c([data[:first], data[first:second], data[second:]]) == whole


def test_the_c_parser_reports_bytes_that_it_cannot_keep():
    """gunicorn then ends the connection, see ``ASGIProtocol._handle_connection``."""
    one = last("t").data.replace(b"Connection: close\r\n", b"")
    for parts in ([one * 2_000], [one, one * 2_000], [one] * 2_000):
        parser = H1CProtocol()
        for part in parts:
            parser.feed(part)
        assert parser.remaining_truncated
        assert parser.remaining() == (one * 2_000)[:65_536]
    assert frames(H1CProtocol, [one * 2_000]).truncated
    assert not frames(H1CProtocol, [one * 500]).truncated
