"""Measure the tables in docs/performance.md and write them there.

    python -m benchmarks.load.tuning [RPS [SECONDS [NAME...]]]

The defaults are 300 requests/s and 10 s a value. Each named setting, or every one, is swept while
all others keep their defaults. All of them take about 15 minutes.
"""

import argparse
import os
import re
import sys
from pathlib import Path

from benchmarks.load.generator import GeneratorError
from benchmarks.load.mix import read_mix
from benchmarks.load.sweep import sweep
from scripts.project import ROOT
from scripts.supervise import Failure, Say, Stop, Supervisor

PAGE = ROOT / "docs" / "performance.md"
SWEEPS = {
    "WORKERS": ["1", "2", "3"],
    "THREADS": ["2", "4", "8", "16"],
    "PCF_POOL_MAX_SIZE": ["8", "10", "20"],
    "PCF_CACHE_ENABLED": ["true", "false"],
    "PCF_CACHE_DEFAULT_TTL": ["2", "10", "300"],
    "PCF_CACHE_MAX_DEPENDENCIES": ["50", "500", "5000"],
}
WARM_UP = 10.0  # seconds


def put(page: str, name: str, table: str) -> str:
    """Return ``page`` with ``table`` between the markers of ``name``; Failure without markers."""
    markers = re.compile(rf"(<!-- sweep {name} -->\n).*?(<!-- end of the sweep -->)", re.DOTALL)
    if not markers.search(page):
        raise Failure(f"{PAGE} has no markers for the sweep of {name}")
    return markers.sub(lambda found: f"{found[1]}\n{table}\n\n{found[2]}", page, count=1)


def main(arguments: list[str]) -> int:
    """Measure; return 0, 2 for wrong arguments, 3 after a failure."""
    try:
        given, names = arguments[:2], arguments[2:] or list(SWEEPS)
        rate, seconds = (float(text) for text in (*given, *("300", "10")[len(given) :]))
        sweeps = {name: SWEEPS[name] for name in names}
    except (ValueError, KeyError):
        print((__doc__ or "").strip(), file=sys.stderr)
        return 2
    mix = read_mix(Path(__file__).with_name("mix.toml"))
    with Supervisor(Say(sys.stderr, "[tuning] ")) as supervisor:
        try:
            for name, values in sweeps.items():
                options = argparse.Namespace(
                    sweep=(name, values),
                    rate=rate,
                    seconds=seconds,
                    warm_up=WARM_UP,
                    connections=64,
                    timeout=10.0,
                    seed="1",
                )
                put(PAGE.read_text(), name, "")
                table = sweep(options, mix, supervisor)
                # read again, because the page may have changed meanwhile
                PAGE.write_text(put(PAGE.read_text(), name, table))
                supervisor.say(f"{name} is measured")
        except Stop as stop:
            return 128 + stop.signum
        except (Failure, GeneratorError, OSError) as error:
            supervisor.say(str(error))
            return 3
    return 0


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main(sys.argv[1:]))
