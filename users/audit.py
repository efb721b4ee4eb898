"""The audit of changes to rows of other users, and of commands.

The admin writes its changes to Django's table of log entries. ``record`` writes those that staff
make through the API to the same table, in the transaction of the change. The admin shows them as
the history of a row. A command has no user, so it writes a line to the log ``pcf.audit``.
"""

import logging
from collections.abc import Sequence
from typing import Any

from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.db.models import Model

from pcf.viewer import Viewer

__all__ = ("ADDITION", "CHANGE", "DELETION", "log", "record", "record_all")

logger = logging.getLogger("pcf.audit")


def record(viewer: Viewer, row: Model, owner_id: int, action: int, what: str) -> None:
    """Record that ``viewer`` changed a row of another user, in one SQL statement.

    The function does nothing for a viewer's own row. ``action`` is ADDITION, CHANGE or DELETION.
    ``what`` is text for people.
    """
    if viewer.id is None or viewer.id == owner_id:
        return
    LogEntry.objects.log_actions(
        viewer.id, [row], action, change_message=f"Through the API: {what}", single_object=True
    )


def record_all(viewer: Viewer, rows: Sequence[Model], owner: str, action: int, what: str) -> None:
    """Record that ``viewer`` changed rows, in one SQL statement for those of other users.

    ``owner`` is the attribute of a row with the id of its user. The rest is as in ``record``.
    """
    others = [row for row in rows if getattr(row, owner) != viewer.id]
    if viewer.id is not None and others:
        LogEntry.objects.log_actions(
            viewer.id, others, action, change_message=f"Through the API: {what}"
        )


def log(what: str, **facts: Any) -> None:
    """Log the action of a command. ``facts`` must not contain the text of a token.

    The formatter of logs masks a word behind "token" (``without_secrets``). So neither ``what`` nor
    the name of a fact may have a word behind it.
    """
    logger.info("%s (%s)", what, ", ".join(f"{name} {value}" for name, value in facts.items()))
