"""Child processes that never outlive their parent, and a stop that keeps its order.

Linux tells a child when its parent dies (prctl PR_SET_PDEATHSIG), even after SIGKILL. Elsewhere
children are stopped by every ordinary way of ending the parent, but not by SIGKILL.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Self, TextIO

PR_SET_PDEATHSIG = 1  # linux/prctl.h
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
POLL = 0.05  # seconds between two looks at the children
ASKED_COMMAND_GRACE = 30.0  # seconds a command gets to clean up after it was asked to stop


class Stop(Exception):
    """Somebody asked the supervisor to stop."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


class Failure(Exception):
    """Something went wrong that its message explains completely; no traceback is needed."""


@dataclass(frozen=True)
class Account:
    """The user that servers run as when root starts them (PostgreSQL refuses to run as root)."""

    name: str
    uid: int
    gid: int


@dataclass
class Child:
    """A server that was started and has to be stopped.

    stop_signal asks it to end in good order within grace seconds; hurry_signal ends it at once.
    """

    name: str
    process: subprocess.Popen[bytes]
    stop_signal: signal.Signals
    hurry_signal: signal.Signals
    grace: float
    log: Path | None


class Say:
    """Prints one short line per step."""

    def __init__(self, stream: TextIO, prefix: str = "[pcf] ") -> None:
        self._stream = stream
        self._prefix = prefix

    def __call__(self, text: str) -> None:
        """Print the line; without a reader go on all the same, there may be a stop to carry out."""
        with contextlib.suppress(OSError):
            print(self._prefix + text, file=self._stream, flush=True)


def _libc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _prepare_child(parent: int, death_signal: int) -> Callable[[], None]:
    """What a child does before exec, and after its change of user, which clears the request."""
    libc = _libc()  # loaded before the fork: a forked child must not

    def prepare() -> None:
        # A shell that starts a job in the background ignores SIGINT for it, and the job's
        # children inherit that.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if libc is not None:
            libc.prctl(PR_SET_PDEATHSIG, death_signal)
            if os.getppid() != parent:  # it died before the line above
                os._exit(1)

    return prepare


def _started_by_make() -> bool:
    try:
        return Path(f"/proc/{os.getppid()}/comm").read_text().strip() in {"make", "gmake"}
    except OSError:
        return False


def tail(log: Path | None, lines: int = 15) -> str:
    """The last lines of a log, or an empty text."""
    if log is None or not log.exists():
        return ""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


class Supervisor:
    """Starts servers and commands, watches the servers, stops everything in reverse order.

    Signals only raise a flag; they are answered where nothing is half done. A context manager:
    leaving it, however that happens, stops what was started. If the supervisor itself is killed,
    the kernel stops its children (Linux). Children must be started from the main thread: the
    kernel's signal is bound to the thread that forked them.
    """

    def __init__(self, say: Say) -> None:
        self.say = say
        self.children: list[Child] = []
        self._signals: list[int] = []

    def __enter__(self) -> Self:
        for signum in STOP_SIGNALS:
            signal.signal(signum, self._note)
        if _started_by_make() and (libc := _libc()) is not None:
            # make forwards SIGTERM, but a killed make cannot: then this process is to end as well.
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _note(self, signum: int, _frame: FrameType | None) -> None:
        self._signals.append(signum)

    def start(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str],
        cwd: Path,
        log: Path | None = None,
        account: Account | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        hurry_signal: signal.Signals = signal.SIGKILL,
        grace: float = 10.0,
    ) -> Child:
        """Start a server and watch it from now on.

        Its output goes to log, or to the terminal without one. It gets a session of its own, so
        that Ctrl-C reaches the supervisor alone, which then stops things in order.
        """
        self.check()
        stream: IO[bytes] | None = log.open("ab") if log else None
        try:
            process = self._spawn(
                argv, env=env, cwd=cwd, output=stream, account=account, death_signal=stop_signal
            )
        finally:
            if stream:
                stream.close()
        child = Child(name, process, stop_signal, hurry_signal, grace, log)
        self.children.append(child)
        return child

    def _spawn(
        self,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str],
        cwd: Path,
        output: IO[bytes] | None,
        account: Account | None,
        death_signal: int,
        foreground: bool = False,
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [str(part) for part in argv],
            env=dict(env),
            cwd=cwd,
            stdin=None if foreground else subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            start_new_session=not foreground,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            # This process has one thread, so running Python between fork and exec is safe.
            preexec_fn=_prepare_child(os.getpid(), death_signal),  # noqa: PLW1509
        )

    def call(
        self,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str],
        cwd: Path,
        output: IO[bytes] | None = None,
        account: Account | None = None,
        interactive: bool = False,
    ) -> int:
        """Run a command to its end and return its exit status (negative: the signal that ended it).

        An interactive one shares a terminal (debuggers work), and then Ctrl-C reaches it
        directly. Raises Stop when a stop was asked for meanwhile, Failure when a server died; the
        command has ended by then.
        """
        self.check()
        terminal = interactive and sys.stdin is not None and sys.stdin.isatty()
        process = self._spawn(
            argv,
            env=env,
            cwd=cwd,
            output=output,
            account=account,
            death_signal=signal.SIGINT,
            foreground=terminal,
        )
        try:
            while process.poll() is None:
                self.check()
                time.sleep(POLL)
        except Stop as stop:
            heard = terminal and stop.signum == signal.SIGINT  # the terminal told it already
            self._end(
                process, None if heard else signal.SIGINT, signal.SIGKILL, ASKED_COMMAND_GRACE
            )
            raise
        except Failure:
            self._end(process, signal.SIGINT, signal.SIGKILL, ASKED_COMMAND_GRACE)
            raise
        self.check()
        return process.returncode

    def answer_signals(self) -> None:
        """Raise Stop if a signal came in."""
        if self._signals:
            raise Stop(self._signals[0])

    def check(self) -> None:
        """Raise Stop if a signal came in, Failure if a server ended by itself."""
        self.answer_signals()
        for child in self.children:
            status = child.process.poll()
            if status is not None:
                how = (
                    f"killed by {signal.Signals(-status).name}"
                    if status < 0
                    else f"exit status {status}"
                )
                lines = tail(child.log)
                raise Failure(
                    f"{child.name} ended by itself ({how})." + (f"\n{lines}" if lines else "")
                )

    def wait_until(self, ready: Callable[[], bool], *, timeout: float, what: str) -> None:
        """Wait until ready(); Failure after timeout seconds or when a server dies."""
        deadline = time.monotonic() + timeout
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                logs = "\n".join(filter(None, (tail(child.log) for child in self.children)))
                raise Failure(f"{what}: not within {timeout:.0f} s.\n{logs}".rstrip())
            time.sleep(POLL)

    def watch(self) -> None:
        """Do nothing until a signal comes in (Stop) or a server dies (Failure)."""
        while True:
            self.check()
            time.sleep(POLL * 2)

    def forget(self, child: Child) -> None:
        """Stop watching a server that is known to have ended."""
        self.children.remove(child)

    def stop(self) -> None:
        """Stop every server, one after another, the last one started first.

        Asked to stop once more meanwhile: hurry.
        """
        while self.children:
            child = self.children.pop()
            if child.process.poll() is None and child.log is None:
                self.say(f"stopping {child.name}")
            self._end(child.process, child.stop_signal, child.hurry_signal, child.grace)
            # What a killed server left of its own children shares its session's process group.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.process.pid, signal.SIGKILL)

    def _end(
        self,
        process: subprocess.Popen[bytes],
        stop_signal: signal.Signals | None,
        hurry_signal: signal.Signals,
        grace: float,
    ) -> None:
        """End a process: ask, wait grace seconds (or until asked once more), insist, then kill."""
        asked_before = len(self._signals)
        for signum, seconds in ((stop_signal, grace), (hurry_signal, 5.0), (signal.SIGKILL, 5.0)):
            if process.poll() is None and signum is not None:
                process.send_signal(signum)
            deadline = time.monotonic() + seconds
            while process.poll() is None and time.monotonic() < deadline:
                if signum == stop_signal and len(self._signals) > asked_before:
                    break
                time.sleep(POLL)
