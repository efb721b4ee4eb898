"""How many connections each worker has, so that they share them evenly.

All workers listen on one socket, and whoever looks first takes what is there. Under a proxy that
opens its connections at once and keeps them, that is mostly one worker: the others then idle while
its threads wait for each other. The numbers lie in memory that the master shares with its workers.
"""

import mmap
from time import sleep

SEATS = 512  # workers that the memory has room for
TOLERANCE = 1  # connections more than others that a worker may take without a pause
PAUSE = 0.001  # seconds in which another worker may be faster

_SIZE = 4  # bytes of a number; 0 is a seat that nobody has


class ConnectionCounts:
    """The numbers of all workers; made before they are forked."""

    def __init__(self) -> None:
        self._numbers = memoryview(mmap.mmap(-1, SEATS * _SIZE)).cast("I")

    def take(self, seat: int, connections: int) -> None:
        """Say that the worker with this ``seat`` has so many connections."""
        self._numbers[seat % SEATS] = connections + 1

    def leave(self, seat: int) -> None:
        """The worker with this ``seat`` is gone."""
        self._numbers[seat % SEATS] = 0

    def give_way(self, connections: int) -> None:
        """Wait a moment when others have fewer ``connections``: one of them may accept the next.

        A worker that hangs or is about to end holds nobody up for longer than that.
        """
        fewest = min(filter(None, self._numbers.tolist()), default=connections + 1) - 1
        if connections > fewest + TOLERANCE:
            sleep(PAUSE)
