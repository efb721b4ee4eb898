"""Random streams of requests have the same answers from PCF and from plain gunicorn.

``PCF_FUZZ_EXAMPLES`` times 20 streams are compared, from the seed ``DIFFERENTIAL_SEED`` on.
"""

import os
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from tests.differential.comparison import Differs, compare
from tests.differential.generator import Stream, stream_of
from tests.differential.raw_http import NotHTTP, answers_in, send
from tests.differential.servers import Pair

STREAMS = 20 * int(os.environ.get("PCF_FUZZ_EXAMPLES", "36"))
FIRST = int(os.environ.get("DIFFERENTIAL_SEED", "0"))
AT_ONCE = 16


def compared(pair: Pair, stream: Stream) -> list[str] | str:
    """Return the rules that a stream needs, or the description of a difference."""
    received = [send(port, stream.segments) for port in pair.ports]
    try:
        pcf, plain = (answers_in(data, stream.heads) for data in received)
        return compare(stream, pcf, plain)
    except (Differs, NotHTTP) as error:
        return f"seed {stream.seed}, {type(error).__name__}: {error}\n{stream.data!r}"


def all_compared(pair: Pair, streams: Iterable[Stream]) -> Counter[str]:
    """Compare streams in parallel; return the number of uses of each rule."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = list(pool.map(lambda stream: compared(pair, stream), streams))
    wrong = [result for result in results if isinstance(result, str)]
    assert not wrong, f"{len(wrong)} of {len(results)}:\n" + "\n".join(wrong[:5])
    return Counter(rule for result in results for rule in result)


def test_streams_of_requests_have_the_same_answers(pair):
    all_compared(pair, (stream_of(seed) for seed in range(FIRST, FIRST + STREAMS)))
