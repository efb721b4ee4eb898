"""A worker that is told to end before it listens: the signal is not lost."""

import os
import signal
from queue import SimpleQueue

import pytest
from gunicorn import glogging
from gunicorn.config import Config
from gunicorn.workers.base import Worker as BaseWorker

from pcf.http.worker import Worker


class Master:
    """What a new process has of gunicorn's arbiter: its handler, and a copy of its queue."""

    def __init__(self):
        self.SIG_QUEUE = SimpleQueue()

    def signal(self, number, _frame):
        self.SIG_QUEUE.put_nowait(number)


@pytest.fixture
def master():
    """A master whose handlers are those of this process, until the test is over."""
    numbers = {*BaseWorker.SIGNALS, signal.SIGTERM, signal.SIGUSR2}
    before = {number: signal.getsignal(number) for number in numbers}
    master = Master()
    for number in numbers:
        signal.signal(number, master.signal)
    yield master
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def worker():
    config = Config()
    worker = Worker(1, os.getppid(), [], None, 30, config, glogging.Logger(config))
    worker.PIPE = os.pipe2(os.O_NONBLOCK)
    worker.method_queue.init()
    yield worker
    worker.method_queue.close()
    worker.tmp.close()
    for end in worker.PIPE:
        os.close(end)


@pytest.mark.parametrize(
    ("sent", "alive"),
    [
        ([signal.SIGTERM], False),
        ([signal.SIGUSR2, signal.SIGQUIT], False),
        ([signal.SIGUSR2], True),
        ([], True),
    ],
)
def test_what_came_before_a_worker_listened_is_heeded(master, worker, sent, alive):
    for number in sent:
        os.kill(os.getpid(), number)
    worker.init_signals()
    assert worker.alive is alive
    os.kill(os.getpid(), signal.SIGTERM)
    assert worker.alive is False, "from now on it listens itself"
    assert master.SIG_QUEUE.empty()


def test_a_worker_without_a_master_listens_all_the_same(master, worker):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    worker.init_signals()
    os.kill(os.getpid(), signal.SIGTERM)
    assert worker.alive is False
