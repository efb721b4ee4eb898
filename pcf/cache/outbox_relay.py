"""The outbox relay: a thread of every serving process that delivers the outbox.

Every ``cache.watch_seconds`` the relay

* reads the outbox. A row that it sees is a committed write that Redis lacks: Redis failed, or the
  writer was not this engine (psql). Nothing is read from the cache before it is delivered;
* releases the names of transactions whose writer did not (it was killed, or cut off), once
  PostgreSQL says how the transaction ended;
* tries Redis again after a failure, so that no request has to;
* compares the start of PostgreSQL with the last one (``pcf.cache.availability``), as each new
  session does;
* checks the configuration of Redis every ``CHECK_EVERY`` polls, and the triggers of this version
  every ``CHECK_TRIGGERS_EVERY`` polls.

A look at the outbox may be relied on for ``cache.lease_seconds``. Each database has a relay.
"""

import logging
from contextlib import suppress
from functools import cache
from threading import Event, Thread
from time import monotonic
from typing import Any

import psycopg
from django.db import connections, router

from pcf._compat.psycopg import is_refusal
from pcf.cache import outbox
from pcf.cache.declaration_checks import cache_problems
from pcf.cache.invalidation import (
    block_prefix,
    deliver_outbox,
    watched_aliases,
)
from pcf.cache.outbox import Outbox
from pcf.cache.redis_gateway import CacheUnavailable, RedisGateway, redis_gateway
from pcf.cache.trigger_installation import InstalledTriggers
from pcf.cache.triggers import declarations
from pcf.conf import config
from pcf.observability import metrics
from pcf.timeouts import TimeoutContext, activate

BLOCKED_FOR = 2  # seconds; a COMMIT takes less
CHECK_EVERY = 20  # polls between two checks of Redis's configuration
CHECK_TRIGGERS_EVERY = 4  # polls between two checks of the triggers
NO_OUTBOX = 5.0  # seconds between two looks at a database without an outbox

logger = logging.getLogger("pcf.cache")


class OutboxRelay:
    """Relays the outbox of the database ``using`` to Redis, for one process's gateway.

    When the relay is stuck its lease ends, and the process serves nothing from the cache. When
    PostgreSQL does not answer, the process goes on serving hits: no write can commit either, except
    one of a process that reaches PostgreSQL and not Redis. When PostgreSQL refuses the relay, the
    process serves nothing, since others may write. When Redis fails, the next poll tries again.
    """

    def __init__(
        self, gateway: RedisGateway, using: str = "default", *, blocked_for: int = BLOCKED_FOR
    ) -> None:
        """``blocked_for`` is the time in seconds after which a writer may have left its block."""
        self._gateway = gateway
        self._using = using
        self._blocked_for = blocked_for
        self._connection: Any = None
        self._outbox: Outbox | None = None
        self._stopped = Event()
        self._polls = 0
        self._pause = 0.0  # seconds before the next poll; 0 for the usual ones
        self._thread = Thread(target=self._run, name=f"pcf-outbox-relay-{using}", daemon=True)

    def start(self) -> None:
        """Start the thread; once per process, after any fork."""
        self._thread.start()

    def stop(self, seconds: float = 2.0) -> None:
        """Stop the thread; wait for it ``seconds`` at most."""
        self._stopped.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self.poll()
            except Exception:  # the thread must outlive every error
                logger.exception("the outbox relay failed")
                self._disconnect()
            self._stopped.wait(self._pause or config().cache.watch_seconds)
        self._hold(None)
        self._disconnect()

    def _hold(self, until: float | None) -> None:
        self._gateway.lease.hold(until, self._using)

    def poll(self) -> None:
        """Read the outbox once, and finish what writers left behind."""
        started = monotonic()
        lease = config().cache.lease_seconds
        try:
            if self._connection is None:
                self._connection = self._connect()
                started = monotonic()
            with activate(TimeoutContext.start("relay", lease)):
                if self._polls % CHECK_TRIGGERS_EVERY == 0:
                    self._check_triggers()
                if self._outbox is None:
                    self._hold(None)
                    self._disconnect()
                    self._pause = NO_OUTBOX
                    self._flush_pending()
                    return
                self._pause = 0.0
                self._check_server()
                rows, _ = self._outbox.read(self._connection)
                if rows:
                    self._gateway.add_pending()
                self._hold(started + lease)
                self._flush_pending()
                self._release_blocks()
                if self._polls % CHECK_EVERY == 0:
                    self._check_eviction()
            self._polls += 1
        except (psycopg.Error, OSError) as error:
            self._note_failure(error)
            self._disconnect()
        except CacheUnavailable:
            pass  # the gateway knows; the next poll tries again

    def _note_failure(self, error: Exception) -> None:
        """Let hits be served where PostgreSQL does not answer."""
        if self._connection is not None:
            logger.warning("the outbox cannot be read: %s", type(error).__name__)
        if is_refusal(error):
            self._hold(0.0)
        elif self._connection is None or self._connection.closed:
            self._hold(None)  # connecting may take longer than a lease

    def _check_server(self) -> None:
        """Have the cache emptied when the server has started anew, or when Redis fails later."""
        started, starts = outbox.server_start(self._connection), self._gateway.starts
        with suppress(CacheUnavailable):
            if self._polls % CHECK_EVERY == 0:
                starts.confirm(self._using, started)
            else:
                starts.adopt(self._using, started)

    def _flush_pending(self) -> None:
        if not self._gateway.has_pending:
            return

        def deliver() -> None:
            if self._outbox is not None:
                delivered = deliver_outbox(self._outbox, self._connection)
                metrics.cache_recovered.labels("outbox").inc(delivered)

        self._gateway.flush_pending(deliver, self._using)

    def _release_blocks(self) -> None:
        prefix = block_prefix(self._using)
        transactions = [
            name.removeprefix(prefix)
            for name in self._gateway.blocking_transactions(self._blocked_for)
            if name.startswith(prefix) and (prefix or "/" not in name)
        ]
        if not transactions:
            return
        for transaction, status in outbox.statuses(self._connection, transactions).items():
            if status != outbox.IN_PROGRESS and self._gateway.release(prefix + transaction):
                metrics.cache_recovered.labels("block").inc()

    def _check_triggers(self) -> None:
        """Disable the cache while a write could pass by the triggers."""
        reason = None
        with self._connection.cursor() as cursor:
            self._outbox = found = outbox.find(cursor)
            stale = [] if found is None else InstalledTriggers(cursor, found).stale()
        if found is None and self._using in _written_aliases():
            reason = f"the database {self._using!r} has no outbox: run migrate"
        elif stale:
            tables = ", ".join(trigger.table for trigger in stale)
            reason = (
                f"triggers on {tables} are missing, disabled or of another version: "
                "run migrate, or restart this process"
            )
        self._gateway.disabled.set(f"triggers of {self._using}", reason)

    def _check_eviction(self) -> None:
        """Disable the cache where Redis evicts keys.

        An entry could outlive the lists of dependents by which writes remove it.
        """
        policy, disabled = self._gateway.eviction_policy(), self._gateway.disabled
        if policy is not None:
            disabled.set("eviction", f"set maxmemory-policy to noeviction, it is {policy}")
        elif "eviction" in disabled.reasons:
            self._gateway.flush_entries()  # their lists may be gone
            disabled.set("eviction", None)

    def _connect(self) -> Any:
        database: Any = connections[self._using]
        return database.connect_outside_pool()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _written_aliases() -> set[str]:
    """Return the aliases of the databases that models with a declaration are written to."""
    return {router.db_for_write(declaration.model) for declaration in declarations()}


_relays: list[OutboxRelay] = []  # of this process: one for each database, when it serves


@cache
def declaration_problem() -> str | None:
    """Return the reason why wrong declarations disable the cache; None where none is wrong.

    A process looks once, because its code does not change. The function compiles the statements of
    all loaders, which takes a second. So gunicorn's master calls it before it forks the workers.
    """
    problems = cache_problems()
    if not problems:
        return None
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{problems[0].message}{more}: see manage.py check"


def start() -> None:
    """Start the relays of this process: once in every serving process, after it was forked.

    The cache stays disabled where a wrong declaration could let a write pass by it.
    """
    if reason := declaration_problem():
        redis_gateway().disabled.set("declarations", reason)
    aliases = watched_aliases()
    redis_gateway().watch(aliases)
    for alias in aliases:
        relay = OutboxRelay(redis_gateway(), alias)
        _relays.append(relay)
        relay.start()


def stop() -> None:
    """Stop the relays of this process."""
    while _relays:
        _relays.pop().stop()
