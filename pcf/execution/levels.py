"""The levels of a run: the order in which its batches, their fields, and pending columns run."""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from pcf.database.query_log import QueryLog, current_log
from pcf.database.snapshots import LATE_STATEMENT, current_snapshot
from pcf.execution.columns import Batch, FieldColumn
from pcf.execution.pending_columns import Pending, PendingColumns
from pcf.execution.plan import FieldPlan
from pcf.execution.plan_cache import Plan
from pcf.observability.tracing import span

ExecuteField = Callable[[Batch, FieldPlan], None]


class RunsCode(Exception):
    """The completion of a plain field may run code of the project, so it cannot be early."""


class Levels:
    """The batches of one run of a plan, in the order in which they run.

    ``check`` is called before each field; what it raises ends the run.
    """

    def __init__(
        self, plan: Plan, pending: PendingColumns, check: Callable[[], object], *, calls_none: bool
    ) -> None:
        """``calls_none`` says that no middleware wraps resolvers."""
        self._plan = plan
        self._pending = pending
        self._check = check
        self._late: deque[tuple[Batch, FieldPlan]] = deque()
        self._leaves: deque[tuple[Batch, FieldPlan]] = deque()
        self._error: Exception | None = None  # that ended the plain fields while they ran early
        self.log = current_log() or QueryLog()
        """Its place is the field that runs now."""
        self._snapshot = current_snapshot()
        self.defers_leaves = calls_none and self._snapshot is not None
        self._current: tuple[Batch, FieldPlan] | None = None
        self.batches: deque[Batch] = deque()
        """The batches that do not wait for promises."""

    def run(self, execute: ExecuteField, execute_early: ExecuteField) -> None:
        """Run all levels; ``execute`` executes one field of a batch, and may add batches.

        ``execute_early`` executes a plain field, or raises RunsCode.
        """
        snapshot = self._snapshot
        while True:
            with span("level", batches=len(self.batches)):
                self._run_batches(execute)
                if self._late:
                    self._run_late(execute)
            if snapshot is not None:
                snapshot.is_last = self._plan.knows_last and self._pending.are_last()
                if self._leaves:
                    snapshot.while_waiting = partial(self._complete_leaves, execute_early)
            settled = self._pending.next_settled()
            if snapshot is not None and self._leaves:
                snapshot.while_waiting = None
                if self._error is not None:
                    raise self._error
                self._run_leaves(execute)
            if not settled:
                return
            self._resume(settled)

    def clear(self) -> None:
        """Forget what is pending, and note in the plan what the run has found out."""
        self._pending.clear()
        self._error = None
        if self._snapshot is not None:
            self._snapshot.while_waiting = None
            if self._snapshot.lost == LATE_STATEMENT:
                self._plan.knows_last = False

    def current_path(self) -> list[str | int] | None:
        """Return the path of the field that was begun last, for its first parent.

        The log shows it, so it has the names of fields and no alias.
        """
        if self._current is None:
            return None
        return FieldColumn(*self._current, [0]).schema_path(0)

    def _run_batches(self, execute: ExecuteField) -> None:
        """Run all batches, apart from the fields that come late.

        In a query, the resolvers that may do anything come late. The fields beside them, and the
        fields below those, are loaded before their first statement. So a slow resolver takes no
        time from them.
        """
        batches, in_snapshot, check = self.batches, self._snapshot is not None, self._check
        while batches:
            batch = batches.popleft()
            defers_leaves = self.defers_leaves and batch.has_time
            for field in batch.fields:
                if in_snapshot and field.is_opaque:
                    self._late.append((batch, field))
                    continue
                if defers_leaves and field.is_plain:
                    self._leaves.append((batch, field))
                    continue
                self._current = batch, field
                check()
                execute(batch, field)

    def _run_late(self, execute: ExecuteField) -> None:
        """Run the fields that come late."""
        snapshot = self._snapshot
        while self._late:
            batch, field = self._current = self._late.popleft()
            self._check()
            if snapshot is not None:
                snapshot.before_statement = lambda: self._load_pending(execute)
                snapshot.has_others = bool(self._late) or not field.is_leaf or len(batch.values) > 1
            execute(batch, field)
            if snapshot is not None:
                snapshot.before_statement, snapshot.has_others = None, True
            self._run_batches(execute)

    def _run_leaves(self, execute: ExecuteField) -> None:
        """Run the plain fields of light rows; a field that raises stays the first one."""
        while self._leaves:
            self._current = self._leaves[0]
            self._check()
            execute(*self._current)
            self._leaves.popleft()

    def _complete_leaves(self, execute: ExecuteField) -> None:
        """Run the plain fields of light rows, while PostgreSQL works on the statements below them.

        They send no statement. ``run`` raises their error: here it would leave the results of the
        statements on the connection.
        """
        place, current = self.log.place, self._current
        try:
            self._run_leaves(execute)
        except RunsCode:
            pass
        except Exception as error:  # noqa: BLE001 - raised again when the connection is free
            self._error = error
        self.log.place, self._current = place, current

    def _load_pending(self, execute: ExecuteField) -> None:
        """Load everything that is pending, while a resolver is about to send its first statement.

        The loads of the fields below run as well; resolvers that come late do not.
        """
        place, current = self.log.place, self._current
        snapshot, has_others = self._snapshot, True
        if snapshot is not None:
            has_others, snapshot.has_others, snapshot.is_last = snapshot.has_others, True, False
        while settled := self._pending.settled():
            self._resume(settled)
            self._run_batches(execute)
        if snapshot is not None:
            snapshot.has_others = has_others
        self._current = current
        self.log.place = place

    def _resume(self, settled: Sequence[Pending]) -> None:
        for column in settled:
            self.log.place = column.column
            column.resume()
