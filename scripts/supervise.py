"""Child processes that never outlive their parent and stop in order.

On Linux the kernel signals the children when their parent dies (prctl PR_SET_PDEATHSIG), even after
SIGKILL. On other systems, children survive a SIGKILL of their parent.
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
POLL = 0.05  # seconds between two checks of the children
COMMAND_GRACE = 30.0  # seconds that a command may take to end after a signal


class Stop(Exception):
    """The supervisor received a signal to stop."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


class Failure(Exception):
    """A failure that its message explains completely. It is printed without a traceback."""


@dataclass(frozen=True)
class Account:
    """The user of servers that root starts. PostgreSQL refuses to run as root."""

    name: str
    uid: int
    gid: int


@dataclass
class Child:
    """A running server.

    ``stop_signal`` asks it to end within ``grace`` seconds. ``hurry_signal`` ends it at once.
    """

    name: str
    process: subprocess.Popen[bytes]
    stop_signal: signal.Signals
    hurry_signal: signal.Signals
    grace: float
    log: Path | None


class Say:
    """Prints lines for people, with a prefix."""

    def __init__(self, stream: TextIO, prefix: str = "[pcf] ") -> None:
        self._stream = stream
        self._prefix = prefix

    def __call__(self, text: str) -> None:
        """Print a line. A closed stream is ignored, because children may have to be stopped."""
        with contextlib.suppress(OSError):
            print(self._prefix + text, file=self._stream, flush=True)


def _libc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _prepare_child(parent: int, death_signal: int) -> Callable[[], None]:
    """Return the function that a child runs before exec.

    A change of the user clears PR_SET_PDEATHSIG, so the child sets it after that.
    """
    libc = _libc()  # a forked child must not load libraries

    def prepare() -> None:
        # Jobs in the background of a shell ignore SIGINT, and their children inherit that.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if libc is not None:
            libc.prctl(PR_SET_PDEATHSIG, death_signal)
            if os.getppid() != parent:  # the parent died before the call of prctl
                os._exit(1)

    return prepare


def _started_by_make() -> bool:
    try:
        return Path(f"/proc/{os.getppid()}/comm").read_text().strip() in {"make", "gmake"}
    except OSError:
        return False


def tail(log: Path | None, lines: int = 15) -> str:
    """Return the last lines of a log; an empty text without a log."""
    if log is None or not log.exists():
        return ""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


class Supervisor:
    """Starts servers and commands, checks the servers, stops all in reverse order.

    A signal only sets a flag; ``check`` raises Stop at safe places. The supervisor is a context
    manager whose end stops all children. If the supervisor is killed, the kernel stops them
    (Linux). Only the main thread may start children, because the kernel's signal belongs to the
    thread that forked.
    """

    def __init__(self, say: Say) -> None:
        self.say = say
        self.children: list[Child] = []
        self._signals: list[int] = []

    def __enter__(self) -> Self:
        for signum in STOP_SIGNALS:
            signal.signal(signum, self._remember)
        if _started_by_make() and (libc := _libc()) is not None:
            # make forwards SIGTERM, but a killed make cannot. The kernel then ends this process.
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _remember(self, signum: int, _frame: FrameType | None) -> None:
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
        """Start a server, which ``check`` checks from now on.

        The server writes to ``log``, or to the terminal without one. It runs in its own session, so
        that Ctrl-C reaches only the supervisor, which then stops the servers in order.
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
            # The supervisor has one thread, so it may run Python between fork and exec.
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
        """Run a command and return its exit status; a negative one is the signal that ended it.

        An interactive command shares the terminal, so that debuggers work and Ctrl-C reaches the
        command directly. Raises Stop after a signal, and Failure when a server ended by itself. The
        command has ended before either is raised.
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
            heard = terminal and stop.signum == signal.SIGINT  # the terminal has sent it the signal
            self._end(process, None if heard else signal.SIGINT, signal.SIGKILL, COMMAND_GRACE)
            raise
        except Failure:
            self._end(process, signal.SIGINT, signal.SIGKILL, COMMAND_GRACE)
            raise
        self.check()
        return process.returncode

    def raise_for_signals(self) -> None:
        """Raise Stop if the supervisor received a signal."""
        if self._signals:
            raise Stop(self._signals[0])

    def check(self) -> None:
        """Raise Stop after a signal, Failure if a server ended by itself."""
        self.raise_for_signals()
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
        """Wait until ``ready`` returns True.

        Raises Failure, which names ``what``, after ``timeout`` seconds; also raises as ``check``.
        """
        deadline = time.monotonic() + timeout
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                logs = "\n".join(filter(None, (tail(child.log) for child in self.children)))
                raise Failure(f"{what}: not within {timeout:.0f} s.\n{logs}".rstrip())
            time.sleep(POLL)

    def wait(self) -> None:
        """Wait until ``check`` raises."""
        while True:
            self.check()
            time.sleep(POLL * 2)

    def forget(self, child: Child) -> None:
        """Remove a server that has ended from the checks."""
        self.children.remove(child)

    def stop(self) -> None:
        """Stop every server in reverse order of their starts. A second signal hurries."""
        while self.children:
            child = self.children.pop()
            if child.process.poll() is None and child.log is None:
                self.say(f"stopping {child.name}")
            self._end(child.process, child.stop_signal, child.hurry_signal, child.grace)
            # The children of a killed server are in its process group.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.process.pid, signal.SIGKILL)

    def _end(
        self,
        process: subprocess.Popen[bytes],
        stop_signal: signal.Signals | None,
        hurry_signal: signal.Signals,
        grace: float,
    ) -> None:
        """End a process with ``stop_signal``, then ``hurry_signal``, then SIGKILL.

        ``stop_signal`` has ``grace`` seconds to work, or until the supervisor receives a second
        signal.
        """
        received_before = len(self._signals)
        for signum, seconds in ((stop_signal, grace), (hurry_signal, 5.0), (signal.SIGKILL, 5.0)):
            if process.poll() is None and signum is not None:
                process.send_signal(signum)
            deadline = time.monotonic() + seconds
            while process.poll() is None and time.monotonic() < deadline:
                if signum == stop_signal and len(self._signals) > received_before:
                    break
                time.sleep(POLL)
