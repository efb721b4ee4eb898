"""Settings of the operating system and the interpreter for a worker process.

The module imports the standard library alone: gunicorn's hooks use it before Django is set up.
"""

import contextlib
import ctypes
import gc
import os
import signal
import sys

SWITCH_INTERVAL = 0.0005  # seconds for which a thread may keep the interpreter lock
GC_THRESHOLD = 50_000  # new objects between two runs of the garbage collector
ARENAS = 2  # memory pools of the C library

_M_ARENA_MAX = -8  # a parameter of mallopt(3)
_END_SIGNALS = {signal.SIGTERM, signal.SIGQUIT, signal.SIGINT}


def freeze_memory() -> None:
    """Exempt all existing objects from garbage collection, and collect new ones less often.

    Without the collector's writes, forked processes share the memory pages of these objects. A
    response makes thousands of objects, which nearly all need no collector to be freed.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, *gc.get_threshold()[1:])


def share_interpreter() -> None:
    """Let a waiting thread have the interpreter lock after ``SWITCH_INTERVAL``.

    A short request gives the lock away at every system call. Behind a thread that computes a large
    response it would wait for Python's default of 5 ms each time.
    """
    sys.setswitchinterval(SWITCH_INTERVAL)


def limit_arenas() -> None:
    """Let all threads share ``ARENAS`` memory pools of glibc; do nothing with another C library.

    By default glibc has a pool for each thread, up to eight a processor, and threads cannot use
    memory that was freed in another pool. Threads under one interpreter lock rarely allocate at the
    same time.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, ARENAS)


def give_back_memory() -> None:
    """Return glibc's freed memory to the system; do nothing with another C library.

    By itself glibc returns the end of a pool alone. The call takes some milliseconds, without the
    interpreter lock.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def block_signals_over_forks() -> None:
    """Block the signals that end a process in each process that this one forks.

    A new process has a copy of this process's signal handlers, which do nothing there. A signal
    would be lost until it has its own. The new process calls ``unblock_signals`` then.
    """
    master = os.getpid()

    def is_master() -> bool:
        return os.getpid() == master

    os.register_at_fork(
        before=lambda: is_master() and signal.pthread_sigmask(signal.SIG_BLOCK, _END_SIGNALS),
        after_in_parent=unblock_signals,
    )


def unblock_signals() -> None:
    """Unblock the signals that end a process, and handle those that came meanwhile."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _END_SIGNALS)
