"""The commands of scripts/dev.py."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from scripts.environment import ensure_venv
from scripts.folders import server_account, throwaway
from scripts.project import ROOT, Project, provide_servers
from scripts.requirements import compile_requirements
from scripts.serve import run
from scripts.supervise import Failure, Say, Stop, Supervisor

CONNECTIONS = 200  # max_connections: several processes of tests, each with a pool
TESTS = {"DJANGO_SETTINGS_MODULE": "settings.test"}


def with_servers(
    supervisor: Supervisor,
    action: Callable[[Project, dict[str, str]], int],
    extra: Mapping[str, str] | None = None,
    *,
    durable: bool = False,
) -> int:
    """Call ``action`` with throw-away servers and return its result.

    The environment that ``action`` gets has the servers' addresses. A ``durable`` PostgreSQL waits
    for its disk as in production.
    """
    project = Project(ROOT, ensure_venv(ROOT, supervisor), supervisor)
    with throwaway(server_account()) as folder:
        try:
            env = project.environment() | provide_servers(
                project, folder, None, connections=CONNECTIONS, durable=durable
            )
            # Names of test databases and cache keys contain it, so that several runs can share a
            # server.
            env["PCF_TEST_RUN_ID"] = f"{os.getpid()}_{secrets.token_hex(4)}"
            return action(project, env | dict(extra or {}))
        finally:
            supervisor.stop()


def services(supervisor: Supervisor) -> int:
    """Start servers, print their addresses for a shell, wait for a signal."""

    def wait(project: Project, env: dict[str, str]) -> int:
        for name in ("DATABASE_URL", "REDIS_URL"):
            print(f"export {name}={env[name]}", flush=True)
        project.say("Ctrl-C stops these servers and removes their data.")
        project.supervisor.wait()
        return 0

    return with_servers(supervisor, wait)


def execute(supervisor: Supervisor, command: Sequence[str], *, durable: bool = False) -> int:
    """Run a command and return its exit status; 128 + signal if a signal ended it."""

    def call(project: Project, env: dict[str, str]) -> int:
        try:
            status = project.supervisor.call(command, env=env, cwd=Path.cwd(), interactive=True)
        except OSError as error:
            raise Failure(f"{command[0]}: {error.strerror}") from error
        return 128 - status if status < 0 else status

    return with_servers(supervisor, call, durable=durable)


def test(supervisor: Supervisor, arguments: Sequence[str]) -> int:
    """Run pytest and return its exit status."""

    def pytest(project: Project, env: dict[str, str]) -> int:
        argv = [str(project.python), "-m", "pytest", *arguments]
        status = project.supervisor.call(argv, env=env, cwd=project.root, interactive=True)
        return 128 - status if status < 0 else status

    return with_servers(supervisor, pytest, TESTS)


def check(supervisor: Supervisor) -> int:
    """Run all checks and return 1 if any failed."""
    return with_servers(supervisor, _check, TESTS)


def _check(project: Project, env: dict[str, str]) -> int:
    manage: list[str | Path] = ["python", "manage.py"]
    production = env | {
        "DJANGO_SETTINGS_MODULE": "settings.production",
        "SECRET_KEY": secrets.token_urlsafe(48),
        "ALLOWED_HOSTS": "example.org",
        "USERS_SITE": "https://example.org/",
    }
    commands: list[tuple[str, list[str | Path], dict[str, str]]] = [
        ("ruff check", ["ruff", "check", "."], env),
        ("ruff format", ["ruff", "format", "--check", "."], env),
        ("mypy", ["mypy"], env),
        ("import-linter", ["lint-imports"], env),
        ("migrations", [*manage, "makemigrations", "--check", "--dry-run"], env),
        ("schema", [*manage, "export_schema", "--check"], env),
        ("settings", [*manage, "settings_reference", "--check"], env),
        ("dependencies", ["python", "scripts/audit.py"], env),
        ("pip check", ["python", "-m", "pip", "check", "--disable-pip-version-check"], env),
        ("deployment", [*manage, "check", "--deploy", "--fail-level", "WARNING"], production),
    ]
    failed: list[str] = []
    for name, argv, environment in commands:
        project.say(f"check: {name}")
        argv[0] = project.python.parent / argv[0]
        if project.supervisor.call(argv, env=environment, cwd=project.root) != 0:
            failed.append(name)
    if failed:
        project.say(f"failed: {', '.join(failed)}")
        return 1
    project.say(f"all {len(commands)} checks passed")
    return 0


def format_source(supervisor: Supervisor) -> int:
    """Format the source, and let the linter fix what it can."""
    python = ensure_venv(ROOT, supervisor)
    project = Project(ROOT, python, supervisor)
    ruff = python.parent / "ruff"
    statuses = [
        supervisor.call([ruff, *arguments], env=project.environment(), cwd=ROOT)
        for arguments in (("check", "--fix", "."), ("format", "."))
    ]
    return int(any(statuses))


def requirements(supervisor: Supervisor) -> int:
    """Pin requirements*.in in requirements*.txt."""
    compile_requirements(ROOT, supervisor)
    return 0


def main(arguments: Sequence[str]) -> int:
    """Run one command and return the exit status."""
    name, *rest = arguments or ["help"]
    without_arguments = {
        "run": run,
        "check": check,
        "services": services,
        "format": format_source,
        "requirements": requirements,
    }
    durable = name == "exec" and rest[:1] == ["--durable"]
    rest = rest[1:] if durable else rest
    rest = rest[1:] if rest[:1] == ["--"] else rest
    command: Callable[[Supervisor], int]
    if name in without_arguments and not rest:
        command = without_arguments[name]
    elif name == "test":
        command = partial(test, arguments=rest)
    elif name == "exec" and rest:
        command = partial(execute, command=rest, durable=durable)
    else:
        return usage()
    # The standard output of test, exec and services belongs to their programs and addresses.
    say = Say(sys.stderr if name in {"test", "exec", "services"} else sys.stdout)
    with Supervisor(say) as supervisor:
        try:
            return command(supervisor)
        except Stop as stop:
            say(f"stopped by {stop}")
            return 0 if name in {"run", "services"} else 128 + stop.signum
        except Failure as failure:
            say(str(failure))
            return 1


def usage() -> int:
    """Print the commands, which the docstring of scripts/dev.py lists; return 2."""
    print((ROOT / "scripts" / "dev.py").read_text().split('"""')[1].strip(), file=sys.stderr)
    return 2
