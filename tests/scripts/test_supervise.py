"""Servers and other children: they start, are checked, stop, and never outlive the supervisor."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
import redis

from scripts.folders import may_enter, server_account, throwaway
from scripts.project import ROOT, Project, provide_servers
from scripts.supervise import Account, Failure

DEADLINE = 20.0  # seconds until a wait counts as failed; far more than needed


def eventually(condition: Callable[[], object]) -> bool:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def alive(pid: int) -> bool:
    """Return whether the process runs; a zombie does not."""
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    return bool(state) and not state.startswith("Z")


def test_with_both_addresses_no_server_starts(tmp_path, monkeypatch, supervisor):
    monkeypatch.setenv("DATABASE_URL", "postgres://elsewhere/db")
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere/3")
    monkeypatch.setenv("PATH", "")
    project = Project(tmp_path, Path(sys.executable), supervisor)

    urls = provide_servers(project, tmp_path, None, connections=20)

    assert urls == {
        "DATABASE_URL": "postgres://elsewhere/db",
        "REDIS_URL": "redis://elsewhere/3",
    }
    assert supervisor.children == []


def test_each_address_replaces_its_server(monkeypatch, supervisor):
    monkeypatch.setenv("DATABASE_URL", "postgres://elsewhere/db")
    monkeypatch.delenv("REDIS_URL", raising=False)
    project = Project(ROOT, Path(sys.executable), supervisor)

    with throwaway(server_account()) as folder:
        urls = provide_servers(project, folder, None, connections=20)
        with redis.Redis.from_url(urls["REDIS_URL"]) as client:
            assert client.ping()
        supervisor.stop()

    assert urls["DATABASE_URL"] == "postgres://elsewhere/db"


def test_postgres_has_utf8_and_its_folder_is_removed(monkeypatch, supervisor):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere/3")
    project = Project(ROOT, Path(sys.executable), supervisor)

    with throwaway(server_account()) as folder:
        urls = provide_servers(project, folder, None, connections=20)
        with psycopg.connect(urls["DATABASE_URL"]) as connection:
            row = connection.execute("SELECT upper('é'), current_setting('max_connections')")
            assert row.fetchone() == ("É", "20")
        (server,) = supervisor.children
        supervisor.stop()

    assert server.process.returncode == 0
    assert not folder.exists()


KILLED_SUPERVISOR = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from scripts.folders import server_account, throwaway
from scripts.project import ROOT, Project, provide_servers
from scripts.supervise import Say, Supervisor

with throwaway(server_account()) as folder, Supervisor(Say(sys.stderr)) as supervisor:
    provide_servers(Project(ROOT, Path(sys.executable), supervisor), folder, None, connections=20)
    script = "import os, time; print(os.getpid(), flush=True); time.sleep(99)"
    command = [sys.executable, "-c", script]
    print(folder, *(child.process.pid for child in supervisor.children), flush=True)
    supervisor.call(command, env=os.environ, cwd=ROOT)
"""


def test_a_killed_supervisor_leaves_no_processes_and_the_next_one_removes_its_folder(monkeypatch):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.delenv("REDIS_URL", raising=False)
    with subprocess.Popen(
        [sys.executable, "-c", KILLED_SUPERVISOR, str(ROOT)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        folder, *servers = process.stdout.readline().split()
        pids = [*map(int, servers), int(process.stdout.readline())]
        assert all(alive(pid) for pid in pids)

        process.kill()

    assert len(pids) == 3
    assert eventually(lambda: not any(alive(pid) for pid in pids))
    with throwaway(server_account()):  # or another run was faster
        assert eventually(lambda: not Path(folder).exists())


def test_a_folder_in_use_is_left_alone():
    with throwaway(server_account()) as first, throwaway(server_account()) as second:
        assert first.is_dir()
        assert second.is_dir()
        assert first != second


def test_an_account_may_enter_a_folder_only_if_every_parent_lets_it(tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir(mode=0o755)
    stranger = Account("stranger", os.getuid() + 12345, os.getgid() + 12345)
    owner = Account("owner", os.getuid(), os.getgid())
    tmp_path.chmod(0o700)

    assert not may_enter(inner, stranger)
    assert may_enter(Path("/"), stranger)
    assert may_enter(inner, owner) == all(
        may_enter(parent, owner) for parent in (inner, *inner.parents)
    )


def test_the_failure_of_a_server_shows_the_end_of_its_log(tmp_path, supervisor):
    command = [sys.executable, "-c", "print('no more paper'); raise SystemExit(3)"]
    child = supervisor.start(
        "printer", command, env=os.environ, cwd=tmp_path, log=tmp_path / "printer.log"
    )
    child.process.wait(DEADLINE)

    with pytest.raises(Failure, match=r"printer ended by itself \(exit status 3\)") as failure:
        supervisor.check()

    assert "no more paper" in str(failure.value)


ORDER = """
import os, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from scripts.supervise import Say, Stop, Supervisor

script = '''
import signal, sys, time
def leave(*_):
    with open(sys.argv[2], "a") as stream: stream.write(sys.argv[1] + " ")
    sys.exit()
signal.signal(signal.SIGTERM, leave)
open(sys.argv[1], "w").close()
time.sleep(99)
'''
with Supervisor(Say(sys.stderr)) as supervisor:
    here = Path.cwd()
    for name in ("first", "second", "third"):
        command = [sys.executable, "-c", script, name, "order"]
        supervisor.start(name, command, env=os.environ, cwd=here, log=here / "log")
        supervisor.wait_until((here / name).exists, timeout=20, what=name)
    print("up", flush=True)
    try:
        supervisor.wait()
    except Stop as stop:
        supervisor.stop()
        print(stop)
"""


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_servers_stop_in_reverse_order(tmp_path, signum):
    with subprocess.Popen(
        [sys.executable, "-c", ORDER, str(ROOT)], stdout=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(signum)
        said = process.stdout.read()

    assert said.strip() == signum.name
    assert process.returncode == 0
    assert (tmp_path / "order").read_text().split() == ["third", "second", "first"]
