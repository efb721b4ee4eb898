"""Settings of a worker's process: memory pools, freed memory, signals over forks."""

import platform
import subprocess
import sys

import pytest

from pcf.server import process

THREADS = """
import ctypes, sys
from threading import Barrier, Thread
from pcf.server.process import limit_arenas
if sys.argv[1] == "limited":
    limit_arenas()
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
libc.malloc_info.argtypes = ctypes.c_int, ctypes.c_void_p
libc.fclose.argtypes = ctypes.c_void_p,
together = Barrier(8)
def work():
    together.wait()
    libc.malloc(10_000)
    together.wait()
threads = [Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
file = libc.fopen(sys.argv[2].encode(), b"w")
libc.malloc_info(0, file)
libc.fclose(file)
"""


def test_threads_share_the_memory_pools_of_the_c_library(tmp_path):
    def arenas(how):
        told = tmp_path / how
        subprocess.run([sys.executable, "-c", THREADS, how, told], check=True)
        return told.read_text().count("<heap nr=")

    if platform.libc_ver()[0] == "glibc":
        assert arenas("limited") <= process.ARENAS < arenas("as it comes")
    else:
        process.limit_arenas()  # does nothing, and does not fail


HOLES = """
import os
from pathlib import Path
from pcf.server.process import give_back_memory
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
blocks = [bytes(20_000) for _ in range(5_000)]
for number in range(len(blocks)):
    if number % 50:
        blocks[number] = None
before = resident()
give_back_memory()
print(before - resident())
"""


def test_freed_memory_is_given_back():
    """The process frees 98 of 100 MB and leaves holes."""
    told = subprocess.run(
        [sys.executable, "-c", HOLES], check=True, capture_output=True, text=True
    ).stdout
    if platform.libc_ver()[0] == "glibc":
        assert int(told) > 50_000_000
    else:
        assert told  # there is nothing to call


# --- signals

FORKING = """
import os, signal, sys
from pcf.server.process import block_signals_over_forks, unblock_signals

told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(os.getpid()))
if sys.argv[1] == "held":
    block_signals_over_forks()
child = os.fork()
if child == 0:
    os.kill(os.getpid(), signal.SIGTERM)  # as a master that ends at once
    copied = list(told)  # signals that the copy of the master's handler got
    signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
    unblock_signals()
    os._exit(1 if copied else 0)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
os.kill(os.getpid(), signal.SIGTERM)
print(status, told == [os.getpid()])
"""


@pytest.mark.parametrize(("how", "status"), [("held", "7"), ("not held", "1")])
def test_a_new_process_handles_a_signal_that_came_before_its_handlers(how, status):
    """Its own handler exits with 7. Status 1 means that a copy of the master's handler ran."""
    found = subprocess.run(
        [sys.executable, "-c", FORKING, how], capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout.split() == [status, "True"]
