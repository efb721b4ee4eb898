"""N+1: a request that sends one statement again and again."""

import logging

from pcf import metrics
from pcf.database.shapes import shape
from pcf.database.statements import QueryLog

logger = logging.getLogger("pcf.http.repetitions")


def report_repetitions(queries: QueryLog) -> None:
    """Log and count the statements that a request sent more often than it may.

    The place is the field whose resolver, or the loader whose batch, went beyond the number.
    """
    metrics.db_repeated_statements.inc()
    for statement, place in queries.repeated.items():
        times, text = queries.times[statement], shape(statement)
        logger.warning(
            "N+1 at %s: %d times %s",
            place,
            times,
            text,
            extra={"facts": {"place": place, "times": times, "statement": text}},
        )
