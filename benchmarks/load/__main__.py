"""Load /graphql at a constant rate and judge the answers (scripts/load-test.sh)."""

import argparse
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.load import run, sweep
from benchmarks.load.generator import GeneratorError
from benchmarks.load.mix import MixError, read_mix
from scripts.project import ROOT
from scripts.supervise import Failure, Say, Stop, Supervisor

PASSED, MISSED, WRONG, BROKEN = 0, 1, 2, 3


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options. Exits with status 2 if they are wrong."""
    parser = argparse.ArgumentParser(prog="scripts/load-test.sh", description=__doc__)
    parser.add_argument("rate", type=_positive, metavar="RPS", help="requests a second")
    parser.add_argument("seconds", type=_positive, metavar="SECONDS", help="after the warm-up")
    parser.add_argument("url", nargs="?", metavar="URL", help="a running service")
    parser.add_argument("--mix", type=Path, default=Path(__file__).with_name("mix.toml"))
    parser.add_argument("--warm-up", type=float, default=30.0, metavar="SECONDS")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument(
        "--processes", type=int, default=0, help="of the generator; 0 selects them by the rate"
    )
    parser.add_argument("--timeout", type=_positive, default=10.0, metavar="SECONDS")
    parser.add_argument("--seed", default="1", help="selects the sequence of requests")
    parser.add_argument("--report", type=Path, default=ROOT / ".pcf" / "load-test.html")
    parser.add_argument("--tokens", type=Path, help="a file with one bearer token a line, for URL")
    parser.add_argument("--remote", action="store_true", help="allow a URL on another machine")
    parser.add_argument(
        "--p99", type=_positive, metavar="MS", help="target that replaces the one of the mix"
    )
    parser.add_argument(
        "--find-limit",
        action="store_true",
        help="raise the rate from RPS until P99 is too high; SECONDS a step",
    )
    parser.add_argument(
        "--generator-alone", action="store_true", help="load a server of constant bytes"
    )
    parser.add_argument(
        "--sweep",
        type=sweep.parse,
        metavar="NAME=V1,V2",
        help="send the load for each value of a setting; print a table",
    )
    parser.add_argument("--only-parse", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.connections < 1 or options.processes < 0 or options.warm_up < 0:
        parser.error("--connections is at least 1, --processes and --warm-up at least 0")
    if options.generator_alone and options.url:
        parser.error("--generator-alone starts its own server, so it takes no URL")
    if options.sweep and (options.url or options.find_limit or options.generator_alone):
        parser.error("--sweep starts its own service and excludes URL and the other modes")
    return options


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1_000_000:
        raise argparse.ArgumentTypeError("must be a number above 0")
    return value


def main(arguments: list[str]) -> int:
    """Run the load test and return the exit status."""
    options = parse(arguments)
    say = Say(sys.stderr, "[load] ")
    try:
        mix = read_mix(options.mix)
    except MixError as error:
        say(str(error))
        return WRONG
    if options.only_parse:  # tells scripts/load-test.sh whether servers are needed
        print("none" if options.url or options.generator_alone else "own")
        return PASSED
    started = time.monotonic()
    with Supervisor(say) as supervisor, ExitStack() as stack:
        try:
            if options.sweep:
                print(sweep.sweep(options, mix, supervisor))
                return PASSED
            passed = run.run(options, mix, supervisor, stack)
        except Stop as stop:
            say(f"stopped by {stop} after {time.monotonic() - started:.0f} s")
            return 128 + stop.signum
        except (Failure, GeneratorError, OSError) as error:
            say(str(error))
            return BROKEN
    return PASSED if passed else MISSED


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main(sys.argv[1:]))
