"""The project's virtual environment: made, checked and repaired by itself."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from scripts.supervise import Failure, Supervisor, tail

STAMP = ".requirements"  # inside .venv, written last: a virtual environment without it is half made


@contextlib.contextmanager
def locked(path: Path, supervisor: Supervisor, waiting: str) -> Iterator[None]:
    """Hold an exclusive lock on path; says so when another process holds it, and waits for it."""
    path.parent.mkdir(exist_ok=True)
    with path.open("w") as stream:
        said = False
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not said:
                    supervisor.say(waiting)
                    said = True
                supervisor.check()
                time.sleep(0.2)
        yield


def fingerprint(requirements: Path) -> str:
    """What a virtual environment was made from: the pinned requirements and the kind of machine."""
    machine = sysconfig.get_platform().encode()
    return hashlib.sha256(machine + b"\n" + requirements.read_bytes()).hexdigest()


def is_ready(venv: Path, wanted: str) -> bool:
    """Whether .venv is complete, made from these requirements, and its Python still works.

    Any Python that is new enough will do: starting with another one is no reason to take away an
    environment that is in use.
    """
    stamp = venv / STAMP
    if not stamp.is_file() or stamp.read_text().strip() != wanted:
        return False
    try:  # pip is gone when the Python below was replaced by another version
        probe: list[str | Path] = [venv / "bin" / "python", "-c", "import pip"]
        return subprocess.run(probe, stderr=subprocess.DEVNULL, check=False).returncode == 0
    except OSError:
        return False


def base_python() -> str:
    """The interpreter behind this process, also when that is the environment to be replaced."""
    return getattr(sys, "_base_executable", None) or sys.executable


def ensure_venv(root: Path, supervisor: Supervisor) -> Path:
    """Bring .venv in line with requirements-dev.txt and return its Python. Safe to run in parallel.

    Raises Failure with the end of pip's output when the installation fails.
    """
    venv = root / ".venv"
    requirements = root / "requirements-dev.txt"
    python = venv / "bin" / "python"
    if is_ready(venv, fingerprint(requirements)):
        return python
    with locked(
        root / ".pcf" / "venv.lock", supervisor, "waiting: another process is preparing .venv"
    ):
        wanted = fingerprint(requirements)
        if not is_ready(venv, wanted):
            _make_venv(root, venv, requirements, supervisor)
            (venv / STAMP).write_text(wanted + "\n")
    return python


def _make_venv(root: Path, venv: Path, requirements: Path, supervisor: Supervisor) -> None:
    if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise Failure(
            f"{base_python()} cannot make virtual environments (no ensurepip). "
            "Install the package:\n"
            f"  Debian, Ubuntu:  apt-get install python3-venv   (or python{version}-venv)"
        )
    packages = sum(1 for line in requirements.read_text().splitlines() if "==" in line)
    supervisor.say(
        f"preparing .venv: {packages} packages from {requirements.name} (details: .pcf/pip.log)"
    )
    started = time.monotonic()
    if venv.is_dir() and not venv.is_symlink():
        shutil.rmtree(venv)  # made from older requirements, or half made, which pip cannot mend
    # What the shell says about Python's import path must not leak into the new environment.
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    python = str(venv / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", "--no-compile", "--require-hashes"]
    install += ["--disable-pip-version-check", "--no-input", "-r", str(requirements)]
    log = root / ".pcf" / "pip.log"
    with log.open("wb") as output:
        for argv in ([base_python(), "-m", "venv", str(venv)], install):
            if supervisor.call(argv, env=env, cwd=root, output=output) != 0:
                raise Failure(f"Preparing .venv failed; the end of {log}:\n{tail(log)}")
        # On every core. A package may carry a file that is not valid Python, so the exit status
        # says nothing.
        compile_all = [python, "-m", "compileall", "-q", "-j", "0", str(venv / "lib")]
        supervisor.call(compile_all, env=env, cwd=root, output=output)
    supervisor.say(f".venv ready after {time.monotonic() - started:.0f} s")


def compile_requirements(root: Path, supervisor: Supervisor) -> None:
    """Pin requirements*.in into requirements*.txt with hashes, by uv from a throw-away environment.

    uv writes neither dates nor registry addresses, so the result depends on nothing but the
    packages.
    """
    env = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="pcf-uv-") as folder:
        venv = Path(folder) / "venv"
        supervisor.say("installing uv into a throw-away environment")
        for argv in (
            [base_python(), "-m", "venv", str(venv)],
            [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "uv"],
        ):
            if supervisor.call(argv, env=env, cwd=root) != 0:
                raise Failure("uv could not be installed.")
        options = [
            "--universal",
            "--python-version",
            "3.11",
            "--generate-hashes",
            "--no-header",
            "--quiet",
        ]
        options += ["--no-emit-index-url", "--no-emit-find-links"]
        names = (
            "requirements",
            "requirements-otel",
            "requirements-dev",
            "requirements-schemathesis",
            "benchmarks/peers/requirements",
        )
        for name in names:
            supervisor.say(f"pinning {name}.in")
            argv = [
                str(venv / "bin" / "uv"),
                "pip",
                "compile",
                *options,
                f"{name}.in",
                "-o",
                f"{name}.txt",
            ]
            if supervisor.call(argv, env=env, cwd=root) != 0:
                raise Failure(f"{name}.in could not be resolved.")
