"""Who changed what that is not theirs: the table that the admin shows as an object's history.

The admin writes it for what is changed there; ``record`` does for what staff change through the
API. It is one row in the transaction of the change: both are there or neither. What has no person
behind it, such as a command, is a line of the log ``pcf.audit``.
"""

import logging
from typing import Any

from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.db.models import Model

from pcf.viewer import Viewer

__all__ = ("ADDITION", "CHANGE", "DELETION", "note", "record")

logger = logging.getLogger("pcf.audit")


def record(viewer: Viewer, row: Model, owner_id: int, action: int, what: str) -> None:
    """Write down that ``viewer`` changed a row of somebody else; nothing when it is their own.

    ``action`` is ADDITION, CHANGE or DELETION; ``what`` is for people. One SQL statement.
    """
    if viewer.id is None or viewer.id == owner_id:
        return
    LogEntry.objects.log_actions(
        viewer.id, [row], action, change_message=f"Through the API: {what}", single_object=True
    )


def note(what: str, **facts: Any) -> None:
    """A line of the log for what a command did; ``facts`` hold no text of a token."""
    logger.info("%s (%s)", what, ", ".join(f"{name} {value}" for name, value in facts.items()))
