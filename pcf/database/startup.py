"""Waiting for PostgreSQL when a server starts."""

import logging
import sys
from dataclasses import replace
from itertools import chain
from time import monotonic

import psycopg
from django.db import connections

from pcf.database.pool import backoff
from pcf.timeouts import TimeoutContext

ATTEMPT = 5.0  # seconds that one attempt to connect has
SAY_EVERY = 5.0  # seconds between two lines of the log

logger = logging.getLogger("pcf.database")


def wait_for_database(seconds: float, *, wanted: int = 0, using: str = "default") -> bool:
    """Wait until PostgreSQL answers, about ``seconds`` at most; whether it does.

    Tries again with the engine's backoff and says in the log what is the matter: at once, every
    ``SAY_EVERY`` seconds, and at the end. ``wanted`` is how many connections the server may come to
    need; of a PostgreSQL that allows fewer the log warns. Connects past the pool, so that a process
    that is about to fork holds nothing afterwards.
    """
    context = TimeoutContext.start("startup", seconds)
    started = monotonic()
    said, problem = None, "no attempt was made"
    again = replace(backoff(), attempts=sys.maxsize).repetitions(context)
    for _ in chain((None,), again):
        try:
            version, allowed = _ask(using, context)
        except psycopg.Error as error:
            problem = " ".join(str(error).split())
            now = monotonic()
            if said is None or now - said >= SAY_EVERY:
                said = now
                text = "waiting for PostgreSQL (%.0f of %g s): %s"
                logger.warning(text, now - started, seconds, problem)
            continue
        if said is not None:
            logger.warning("PostgreSQL %s answers after %.1f s", version, monotonic() - started)
        if wanted > allowed:
            text = "the pools may want %d connections, PostgreSQL allows %d (max_connections)"
            logger.warning(text, wanted, allowed)
        return True
    logger.error("PostgreSQL did not answer within %g s: %s", seconds, problem)
    return False


def _ask(using: str, context: TimeoutContext) -> tuple[str, int]:
    """The server's version and how many connections it allows to ordinary users."""
    params = connections[using].get_connection_params()
    params["connect_timeout"] = max(1, round(min(ATTEMPT, context.remaining())))
    with psycopg.connect(**params, autocommit=True) as connection:
        row = connection.execute(
            "SELECT current_setting('server_version'), current_setting('max_connections')::int"
            " - current_setting('superuser_reserved_connections')::int"
        ).fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM has a row
    return row[0], row[1]
