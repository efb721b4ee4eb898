"""Profile a service under load: a flame graph of a worker, and PostgreSQL's costliest statements.

    scripts/profile.sh [RPS [SECONDS]]      the defaults are 500 requests/s and 20 s

py-spy makes the flame graph. pg_stat_statements has the statements with the largest total time.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from benchmarks.load.generator import GeneratorError, Load
from benchmarks.load.measure import measure
from benchmarks.load.mix import read_mix
from benchmarks.load.observe import usage
from benchmarks.load.service import Service, explore, own
from scripts.project import ROOT
from scripts.supervise import Failure, Say, Stop, Supervisor

SAMPLES = 199  # a second; a prime, so that samples do not follow a regular event
WARM_UP = 5.0  # seconds that are not profiled
LONGEST = 600.0  # seconds
SHOWN = 15  # statements
WIDTH = 160  # characters of a statement
_TOP = """
SELECT calls, total_exec_time, mean_exec_time, rows::float8 / calls,
       100.0 * shared_blks_hit / nullif(shared_blks_hit + shared_blks_read, 0), query
FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
WHERE d.datname = current_database() AND calls > 0
ORDER BY total_exec_time DESC LIMIT %s
"""


@contextmanager
def statements(url: str, lines: list[str]) -> Iterator[None]:
    """Count the statements while the block runs, and append a table of them to ``lines``."""
    with psycopg.connect(url, autocommit=True) as connection:
        try:
            connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
            connection.execute("SELECT pg_stat_statements_reset()")
        except psycopg.Error as error:
            lines.append(f"pg_stat_statements is not available: {str(error).splitlines()[0]}")
            yield
            return
        yield
        lines.append(
            f"{'calls':>9} {'total ms':>10} {'mean ms':>9} {'rows':>7} {'hit %':>6}  statement"
        )
        for calls, total, mean, rows, hit, query in connection.execute(_TOP, (SHOWN,)):
            text = " ".join(query.split())
            text = text if len(text) <= WIDTH else text[: WIDTH - 3] + "..."
            lines.append(
                f"{calls:>9,} {total:>10,.1f} {mean:>9.3f} {rows:>7.1f} {hit or 0:>6.1f}  {text}"
            )


@contextmanager
def flame_graph(pid: int, seconds: float, path: Path) -> Iterator[None]:
    """Sample a process for ``seconds`` while the block runs, into the SVG file ``path``.

    py-spy counts only threads that hold the interpreter's lock. Other threads wait for PostgreSQL,
    Redis or clients. Raises Failure when py-spy fails.
    """
    program = Path(sys.executable).with_name("py-spy")
    argv = [program, "record", "--pid", str(pid), "--output", path, "--format", "flamegraph"]
    argv += ["--rate", str(SAMPLES), "--duration", str(max(1, int(seconds))), "--gil"]
    with subprocess.Popen(
        [str(part) for part in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as sampler:
        try:
            yield
            output, _ = sampler.communicate(timeout=60)
        except subprocess.TimeoutExpired as error:
            raise Failure("py-spy did not end in time") from error
        finally:
            sampler.kill()
    if sampler.returncode != 0:
        raise Failure(f"py-spy failed (it needs root, or ptrace_scope 0):\n{output}")


def profile(supervisor: Supervisor, rate: float, seconds: float) -> None:
    """Start a service, warm it up, then profile one worker and PostgreSQL under load."""
    mix = read_mix(Path(__file__).with_name("mix.toml"))
    svg, text = ROOT / ".pcf" / "profile.svg", ROOT / ".pcf" / "profile.txt"
    with own(supervisor, mix.tokens) as service:
        world = explore(service)
        supervisor.say(f"service: {service.description}")
        warm_up = Load(rate=rate, seconds=WARM_UP)
        measure(service, warm_up, mix, world, supervisor)
        lines: list[str] = []
        with statements(service.database, lines):
            worker = busiest(service)
            with flame_graph(worker, seconds, svg):
                load = Load(rate=rate, seconds=seconds, seed="2")
                outcome = measure(service, load, mix, world, supervisor)
        if outcome.interrupted:
            raise outcome.interrupted
        text.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    supervisor.say(f"flame graph of worker {worker}: {svg}; statements: {text}")


def busiest(service: Service) -> int:
    """Return the worker with the most processor time. Raises Failure without workers."""
    if not service.workers:
        raise Failure("no worker process was found")
    return max(service.workers, key=lambda pid: usage([pid]).processor)


def main(arguments: list[str]) -> int:
    """Profile; return 0, 2 for wrong arguments, 3 after a failure."""
    try:
        rate, seconds = [float(text) for text in (*arguments, *("500", "20")[len(arguments) :])]
        if not rate > 0 or not 1 <= seconds <= LONGEST:
            raise ValueError  # noqa: TRY301
    except ValueError:
        print((__doc__ or "").strip(), file=sys.stderr)
        return 2
    with Supervisor(Say(sys.stderr, "[profile] ")) as supervisor:
        try:
            profile(supervisor, rate, seconds)
        except Stop as stop:
            return 128 + stop.signum
        except (Failure, GeneratorError, OSError, psycopg.Error) as error:
            supervisor.say(str(error))
            return 3
    return 0


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main(sys.argv[1:]))
