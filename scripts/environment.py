"""The project's virtual environment: ``ensure_venv`` makes, checks and repairs it."""

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
import time
from collections.abc import Iterator
from pathlib import Path

from scripts.supervise import Failure, Supervisor, tail

STAMP = ".requirements"  # a file in .venv, written last: .venv without it is incomplete


@contextlib.contextmanager
def locked(path: Path, supervisor: Supervisor, waiting: str) -> Iterator[None]:
    """Hold an exclusive lock on ``path``. Print ``waiting`` if another process holds it."""
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
    """Return a hash of the pinned requirements and of the platform, which .venv depends on."""
    machine = sysconfig.get_platform().encode()
    return hashlib.sha256(machine + b"\n" + requirements.read_bytes()).hexdigest()


def is_ready(venv: Path, wanted: str) -> bool:
    """Return whether .venv is complete, has the fingerprint ``wanted`` and a working Python.

    Any supported version of Python is accepted: a process that starts with another version must
    not replace an environment that is in use.
    """
    stamp = venv / STAMP
    if not stamp.is_file() or stamp.read_text().strip() != wanted:
        return False
    try:  # an upgrade of the system's Python leaves .venv without pip
        probe: list[str | Path] = [venv / "bin" / "python", "-c", "import pip"]
        return subprocess.run(probe, stderr=subprocess.DEVNULL, check=False).returncode == 0
    except OSError:
        return False


def base_python() -> str:
    """Return the interpreter that made this process's environment, or this process's own."""
    python = Path(
        sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}"
    )
    return str(python) if python.exists() else sys.executable


def ensure_venv(root: Path, supervisor: Supervisor) -> Path:
    """Bring .venv in line with requirements-dev.txt and return the path of its Python.

    Several processes may call it at the same time. Raises Failure with the end of pip's output
    when the installation fails.
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
    """Make .venv from nothing. Raises Failure."""
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
        shutil.rmtree(venv)  # pip cannot repair an incomplete environment
    # The caller's PYTHONPATH must not reach the new environment.
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    python = str(venv / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", "--no-compile", "--require-hashes"]
    install += ["--disable-pip-version-check", "--no-input", "-r", str(requirements)]
    log = root / ".pcf" / "pip.log"
    with log.open("wb") as output:
        for argv in ([base_python(), "-m", "venv", str(venv)], install):
            if supervisor.call(argv, env=env, cwd=root, output=output) != 0:
                raise Failure(f"Preparing .venv failed; the end of {log}:\n{tail(log)}")
        # compileall uses every core. Packages may contain files that are not valid Python, so the
        # exit status is ignored.
        compile_all = [python, "-m", "compileall", "-q", "-j", "0", str(venv / "lib")]
        supervisor.call(compile_all, env=env, cwd=root, output=output)
    supervisor.say(f".venv ready after {time.monotonic() - started:.0f} s")
