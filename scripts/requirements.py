"""``make requirements``: pin every requirements*.in, each package to one version in all files.

The peers alone may have other versions: nothing of the product shares their environment.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from scripts.audit import read_pins
from scripts.environment import base_python
from scripts.supervise import Failure, Supervisor

WHOLE = "requirements-dev"  # includes requirements.in and requirements-otel.in
# The dependencies of the engine stand in pyproject.toml alone; these files add the project's.
OF_THE_ENGINE = {
    "requirements": ("pyproject.toml",),
    "requirements-otel": ("pyproject.toml", "--extra", "otel"),
    "requirements-dev": ("pyproject.toml", "--extra", "otel"),
}
PARTS = (
    "requirements",
    "requirements-otel",
    "requirements-schemathesis",
    "benchmarks/peers/requirements",
)
OPTIONS = (
    "--universal",
    "--python-version",
    "3.11",
    "--generate-hashes",
    "--no-header",
    "--quiet",
    "--no-emit-index-url",
    "--no-emit-find-links",
)


def compile_requirements(root: Path, supervisor: Supervisor) -> None:
    """Write requirements*.txt with hashes, resolved by uv from a throw-away environment.

    uv resolves ``WHOLE`` first. Its versions are the preferences for every part. A file's own pins
    are the preferences for the rest, so that versions change only where requirements*.in asks for
    it; delete requirements-dev.txt to upgrade everything. The files contain no dates and no
    addresses of registries. Raises Failure, and changes no file, when one cannot be resolved.
    """
    with tempfile.TemporaryDirectory(prefix="pcf-uv-") as folder:
        uv = _install_uv(Path(folder) / "venv", root, supervisor)
        output = Path(folder) / "requirements.txt"
        texts: dict[Path, str] = {}
        whole = ""
        for name in (WHOLE, *PARTS):
            supervisor.say(f"pinning {name}.in")
            path = root / f"{name}.txt"
            own = path.read_text() if path.exists() else ""
            output.write_text(preferences(whole, own))
            engine = OF_THE_ENGINE.get(name, ())
            argv = [uv, "pip", "compile", *OPTIONS, *engine, f"{name}.in", "-o", str(output)]
            if supervisor.call(argv, env=dict(os.environ), cwd=root) != 0:
                raise Failure(f"{name}.in could not be resolved.")
            texts[path] = output.read_text()
            whole = whole or texts[path]
        for path, text in texts.items():
            path.write_text(text)


def preferences(first: str, second: str) -> str:
    """Return the pins of two requirements files without hashes; those of ``first`` win."""
    pins = read_pins(second)[0] | read_pins(first)[0]
    return "".join(f"{name}=={pin.version}{pin.marker}\n" for name, pin in sorted(pins.items()))


def _install_uv(venv: Path, root: Path, supervisor: Supervisor) -> str:
    """Install uv into a new virtual environment and return its path. Raises Failure."""
    supervisor.say("installing uv into a throw-away environment")
    for argv in (
        [base_python(), "-m", "venv", str(venv)],
        [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "uv"],
    ):
        if supervisor.call(argv, env=dict(os.environ), cwd=root) != 0:
            raise Failure("uv could not be installed.")
    return str(venv / "bin" / "uv")
