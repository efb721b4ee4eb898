"""The leases of the flights that a process leads, renewed while it is alive.

A lease is short (``cache.flight_lease``), so that a leader that died holds nobody up for long; a
living leader may need longer than that. When Redis fails, leases end: then others execute, too.
"""

import os
from threading import Event, Lock, Thread
from time import monotonic

from pcf.apps import config
from pcf.cache import scripts
from pcf.cache.gate import CacheUnavailable, Gate

_SHARE = 3  # renewals within one lease


class Leases:
    """Renews leases from one thread, which sleeps while there are none to renew."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._lock = Lock()
        self._held: dict[str, tuple[str, float]] = {}
        self._any = Event()
        self._process = 0  # whose thread it is; a fork leaves threads behind

    def hold(self, flight: str, name: str, until: float) -> None:
        """Renew the lease of ``flight`` for the entry ``name`` until ``release``, but not after
        ``until`` on ``time.monotonic()``: a request that is stuck must let go, too.
        """
        process = os.getpid()
        with self._lock:
            self._held[flight] = (name, until)
            if self._process != process:
                self._process = process
                self._any = Event()
                Thread(target=self._renew, name="pcf-leases", daemon=True).start()
            if not self._any.is_set():
                self._any.set()

    def release(self, flight: str) -> None:
        """Leave the lease of ``flight`` to end."""
        with self._lock:
            self._held.pop(flight, None)

    def _renew(self) -> None:
        pause = Event()  # never set
        while True:
            self._any.wait()
            pause.wait(config().cache.flight_lease / _SHARE)
            now = monotonic()
            with self._lock:
                held = [(f, name) for f, (name, until) in self._held.items() if now < until]
                if not held:
                    self._any.clear()
            for flight, name in held:
                self._renew_one(flight, name)

    def _renew_one(self, flight: str, name: str) -> None:
        settings = config().cache
        milliseconds = int(settings.flight_lease * 1000)
        try:
            self._gate.run(scripts.RENEW, settings.prefix, name, flight, milliseconds)
        except CacheUnavailable:
            return  # the next renewal may come in time
