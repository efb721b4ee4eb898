"""Are the dependencies what the repository says? Without a network.

Every pin of every requirements file has hashes and names no address, requirements.txt is part of
requirements-dev.txt, what is installed is what is pinned, and nothing else is. Run by
``make check`` with .venv's Python. Whether a version has known holes needs a service that knows
them: SECURITY.md has the command.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)(?P<marker>\s*;[^\\]*)?")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
TOOLS = {"pip", "setuptools", "wheel"}  # what a virtual environment begins with

SERVICE, DEVELOPMENT = "requirements.txt", "requirements-dev.txt"
OTHERS = (  # of environments of their own
    "requirements-otel.txt",
    "requirements-schemathesis.txt",
    "benchmarks/peers/requirements.txt",
)


class Pin:
    """One line of a requirements file: a version, whether it depends on the platform, hashes."""

    def __init__(self, version: str, *, conditional: bool, hashes: int) -> None:
        self.version = version
        self.conditional = conditional
        self.hashes = hashes


def normal(name: str) -> str:
    """A package's name as all its spellings have in common."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_pins(text: str) -> tuple[dict[str, Pin], list[str]]:
    """The pins of a requirements file by name, and the entries that are none."""
    pins: dict[str, Pin] = {}
    odd: list[str] = []
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for entry in filter(None, map(str.strip, "\n".join(lines).replace("\\\n", " ").splitlines())):
        found = PIN.match(entry)
        if found is None or "://" in entry:
            odd.append(entry)
            continue
        hashes = len(HASH.findall(entry))
        pin = Pin(found["version"], conditional=bool(found["marker"]), hashes=hashes)
        pins[normal(found["name"])] = pin
    return pins, odd


def bad_entries(file: str, text: str) -> Iterator[str]:
    """The entries of one requirements file that are no pinned version or have no hash."""
    pins, odd = read_pins(text)
    yield from (f"{file}: not a pinned version: {entry}" for entry in odd)
    yield from (f"{file}: {name} has no hash" for name, pin in pins.items() if not pin.hashes)


def complaints(service: str, development: str, installed: Mapping[str, str]) -> Iterator[str]:
    """What is wrong between two requirements files and what is installed (name: version)."""
    wanted, _ = read_pins(development)
    needed, _ = read_pins(service)
    for name, pin in needed.items():
        if name not in wanted or wanted[name].version != pin.version:
            yield f"{name}: {SERVICE} and {DEVELOPMENT} disagree"
    for name, pin in wanted.items():
        if name not in installed and not pin.conditional:
            yield f"{name} is not installed"
        elif installed.get(name, pin.version) != pin.version:
            yield f"{name}: {pin.version} is pinned, {installed[name]} is installed"
    for name in installed.keys() - wanted.keys() - TOOLS:
        yield f"{name} is installed but not pinned"


def main(root: Path = ROOT) -> int:
    """Say what is wrong; 1 when anything is."""
    files = {name: (root / name).read_text() for name in (SERVICE, DEVELOPMENT, *OTHERS)}
    installed = {normal(found.metadata["Name"]): found.version for found in distributions()}
    wrong = set(complaints(files[SERVICE], files[DEVELOPMENT], installed))
    for name, text in files.items():
        wrong.update(bad_entries(name, text))
    for line in sorted(wrong):
        print(line, file=sys.stderr)
    if not wrong:
        print(
            f"{len(installed)} packages are as they are pinned; "
            f"all pins of {len(files)} files have hashes"
        )
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
