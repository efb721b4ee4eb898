"""The watch: a thread of every serving process that looks after what others left behind.

Every ``cache.watch_seconds`` it

* reads the outbox: rows that it can see were committed without Redis knowing (Redis failed, or the
  writer was psql). The gate is shut until they have been delivered, by whoever is first;
* clears marks whose writer did not (killed, cut off), once PostgreSQL says how their transaction
  ended;
* lets the gate recover after a failure, so that no request has to;
* looks at how Redis is set up, and whether the triggers are those of this version.

What it saw holds for ``cache.lease_seconds``: a process whose watch is stuck serves nothing from
the cache. When PostgreSQL cannot be asked, hits are served as before: nothing can be written
either, unless by somebody who still reaches PostgreSQL and no longer Redis.
"""

import logging
from threading import Event, Thread
from time import monotonic
from typing import Any

import psycopg
from django.db import connections

from pcf import metrics
from pcf.apps import config
from pcf.cache import outbox
from pcf.cache.gate import CacheUnavailable, Gate, gate
from pcf.cache.invalidation import deliver_outbox
from pcf.timeouts import TimeoutContext, activate

MARKED_FOR = 2  # seconds; a commit takes less
EXAMINE_EVERY = 20  # looks

logger = logging.getLogger("pcf.cache")


class Watch:
    """Looks after one process's gate and the outbox of the database ``using``."""

    def __init__(
        self, watched: Gate, using: str = "default", *, marked_for: int = MARKED_FOR
    ) -> None:
        """``marked_for``: seconds from which on a mark may have been left behind."""
        self._gate = watched
        self._using = using
        self._marked_for = marked_for
        self._connection: Any = None
        self._stopped = Event()
        self._looks = 0
        self._thread = Thread(target=self._run, name="pcf-watch", daemon=True)

    def start(self) -> None:
        """Begin; once per process, after any fork."""
        self._thread.start()

    def stop(self, seconds: float = 2.0) -> None:
        """End within ``seconds``."""
        self._stopped.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self.look()
            except Exception:  # the thread must outlive whatever it meets
                logger.exception("the watch of the response cache failed")
                self._disconnect()
            self._stopped.wait(config().cache.watch_seconds)
        self._gate.hold_lease(None)
        self._disconnect()

    def look(self) -> None:
        """Look once."""
        begun = monotonic()
        settings = config().cache
        try:
            if self._connection is None:
                self._gate.hold_lease(None)  # connecting may take longer than a lease
                self._connection = self._connect()
                begun = monotonic()
            with activate(TimeoutContext.start("watch", settings.lease_seconds)):
                rows, _ = outbox.seen(self._connection)
                if rows:
                    self._gate.owe()
                self._gate.hold_lease(begun + settings.lease_seconds)
                self._settle()
                self._clear_marks()
                if self._looks % EXAMINE_EVERY == 0:
                    self._examine()
            self._looks += 1
        except (psycopg.Error, OSError) as error:
            if self._connection is not None:
                logger.warning("the outbox cannot be read: %s", type(error).__name__)
            self._gate.hold_lease(None)
            self._disconnect()
        except CacheUnavailable:
            pass  # the gate knows, and is tried again at the next look

    def _settle(self) -> None:
        if not self._gate.is_owing:
            return

        def deliver() -> None:
            metrics.cache_recovered.labels("outbox").inc(deliver_outbox(self._connection))

        self._gate.settle(deliver)

    def _clear_marks(self) -> None:
        marked = self._gate.marked(self._marked_for)
        if not marked:
            return
        for transaction, status in outbox.statuses(self._connection, marked).items():
            if status != "in progress" and self._gate.clear(transaction):
                metrics.cache_recovered.labels("mark").inc()

    def _examine(self) -> None:
        with self._connection.cursor() as cursor:
            stale = outbox.stale_triggers(cursor)
        tables = ", ".join(trigger.table for trigger in stale)
        self._gate.close("triggers", f"run migrate: no triggers on {tables}" if stale else None)

        self._examine_redis()

    def _examine_redis(self) -> None:
        """Under a policy that evicts, entries can outlive the lists that writes remove them by."""
        policy = self._gate.evicts()
        if policy is not None:
            self._gate.close("eviction", f"set maxmemory-policy to noeviction, it is {policy}")
        elif self._gate.is_closed("eviction"):
            self._gate.flush()  # what is left may have lost its lists
            self._gate.close("eviction", None)

    def _connect(self) -> Any:
        database: Any = connections[self._using]
        return database.connect_outside_pool()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


_watches: list[Watch] = []  # of this process: one, when it serves


def start() -> None:
    """Start this process's watch. Call it once in every serving process, after it was forked."""
    watch = Watch(gate())
    _watches.append(watch)
    watch.start()


def stop() -> None:
    """Stop it."""
    while _watches:
        _watches.pop().stop()
