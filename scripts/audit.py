"""Check the pinned dependencies against each other and against what is installed. No network.

* Every pin of every requirements file has hashes and names no address.
* A package has the same version in all files, apart from the one in ALONE.
* requirements-dev.txt has every package of requirements.txt and requirements-otel.txt.
* .venv has exactly the packages of requirements-dev.txt.

``make check`` runs this with the Python of .venv. SECURITY.md has the command that looks for known
vulnerabilities, which needs the network.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)(?P<marker>\s*;[^\\]*)?")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
TOOLS = {"pip", "setuptools", "wheel"}  # packages that a new virtual environment may have

DEVELOPMENT = "requirements-dev.txt"
PARTS = ("requirements.txt", "requirements-otel.txt")  # files that DEVELOPMENT includes
OTHERS = ("requirements-schemathesis.txt",)
ALONE = "benchmarks/peers/requirements.txt"  # its environment has nothing of the product
FILES = (DEVELOPMENT, *PARTS, *OTHERS, ALONE)


@dataclass(frozen=True)
class Pin:
    """One entry of a requirements file.

    ``marker`` is empty, or the condition after the version with its semicolon.
    """

    version: str
    marker: str
    hashes: int


def normal(name: str) -> str:
    """Return a package's name as PEP 503 normalises it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_pins(text: str) -> tuple[dict[str, Pin], list[str]]:
    """Return the pins of a requirements file by name, and the entries that are no pins."""
    pins: dict[str, Pin] = {}
    odd: list[str] = []
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for entry in filter(None, map(str.strip, "\n".join(lines).replace("\\\n", " ").splitlines())):
        found = PIN.match(entry)
        if found is None or "://" in entry:
            odd.append(entry)
            continue
        marker = (found["marker"] or "").partition("--hash")[0].rstrip()
        pins[normal(found["name"])] = Pin(found["version"], marker, len(HASH.findall(entry)))
    return pins, odd


def bad_entries(file: str, text: str) -> Iterator[str]:
    """Yield a message for every entry of ``file`` that is no pinned version or has no hash."""
    pins, odd = read_pins(text)
    yield from (f"{file}: not a pinned version: {entry}" for entry in odd)
    yield from (f"{file}: {name} has no hash" for name, pin in pins.items() if not pin.hashes)


def disagreements(files: Mapping[str, str]) -> Iterator[str]:
    """Yield a message for every package that two files pin differently.

    ``files`` maps the files' names to their texts. DEVELOPMENT is the first and must have every
    package of PARTS. ALONE may pin other versions.
    """
    pins = {file: read_pins(text)[0] for file, text in files.items() if file != ALONE}
    for file, its_pins in pins.items():
        for name, pin in its_pins.items():
            wanted = pins[DEVELOPMENT].get(name)
            if wanted is None:
                if file in PARTS:
                    yield f"{name}: {file} has it, {DEVELOPMENT} does not"
                wanted = next(other[name] for other in pins.values() if name in other)
            if pin.version != wanted.version:
                yield f"{name}: {file} pins {pin.version}, another file {wanted.version}"


def installation(development: str, installed: Mapping[str, str]) -> Iterator[str]:
    """Yield the differences between a requirements file and what is installed (name: version)."""
    wanted, _ = read_pins(development)
    for name, pin in wanted.items():
        if name not in installed and not pin.marker:
            yield f"{name} is not installed"
        elif installed.get(name, pin.version) != pin.version:
            yield f"{name}: {pin.version} is pinned, {installed[name]} is installed"
    for name in installed.keys() - wanted.keys() - TOOLS:
        yield f"{name} is installed but not pinned"


def main(root: Path = ROOT) -> int:
    """Print every problem; return 1 if there is any."""
    files = {name: (root / name).read_text() for name in FILES}
    installed = {normal(found.metadata["Name"]): found.version for found in distributions()}
    problems = {*disagreements(files), *installation(files[DEVELOPMENT], installed)}
    for name, text in files.items():
        problems.update(bad_entries(name, text))
    for line in sorted(problems):
        print(line, file=sys.stderr)
    if not problems:
        print(
            f"{len(installed)} packages are as they are pinned; {len(files) - 1} files agree, "
            f"and all their pins and those of {ALONE} have hashes"
        )
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
