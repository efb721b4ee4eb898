"""``ENGINE = "pcf.database.backend"``: Django's PostgreSQL backend with deadlines for requests.

Inside a TimeoutContext the backend adds to Django's:

* Each statement runs within the rest of the request's time, without an additional round trip.
* The wait for a connection, the connection and its check end with the deadline.
* A read that was declared idempotent is retried on a new connection when its own breaks.
* Statements are counted and timed; slow ones are logged.

Everywhere, commit hooks run (``pcf.database.transactions``). A writing statement in autocommit mode
gets a transaction of its own, so the hooks run for it as well.

Outside a TimeoutContext (commands, migrations, a shell) PostgreSQL's own ``statement_timeout``
applies, so the backend does not end a long migration. A pooled connection is reset to it first.

OPTIONS in addition to Django's:

* ``session_statement_timeout`` (default True): set False when a pooler such as PgBouncer in
  transaction mode shares sessions. Then each limit goes with its statement.
* ``replica`` (default False): marks a read replica. The thread that checks it may end its
  connections.
"""

import re
from collections.abc import Sequence
from functools import partial
from time import monotonic
from typing import Any, ClassVar, cast

from django.core.exceptions import ImproperlyConfigured
from django.db import Error, connections
from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import operations
from django.db.backends.utils import CursorWrapper
from psycopg import IsolationLevel
from psycopg.pq import TransactionStatus

from pcf._compat.django_db import PostgreSQLWrapper
from pcf.conf import config
from pcf.database.backend.cursors import DeadlineCursor, DeadlineDebugCursor
from pcf.database.backend.read_cursor import ReadCursor
from pcf.database.connection import GRACE, SERVER_START, DeadlineConnection, run_session_hooks
from pcf.database.pool import DeadlinePool
from pcf.database.prepared_statements import PreparedReads, ReadRequest, ReadStatement, Rows
from pcf.database.retry import is_out_of_resources, lost_reason
from pcf.database.sql_text import StatementKind, WritingFunctions, effect_of, kind_of, template_text
from pcf.database.statements import statement_budget, usual_limit
from pcf.database.timestamps import with_fast_timestamps
from pcf.database.transactions import AfterCommit, CommitOutcome, run_commit_hooks
from pcf.errors import ConnectionLost, OutcomeUnknown, OutOfResources
from pcf.greenlets import in_thread
from pcf.timeouts import current_timeout

MAX_KEPT_ROWS = 100  # rows that a cursor may hold between two requests
RENEW_AFTER = 1.0  # seconds after which a session's refusal of a write may be out of date
# What the engine and psycopg rely on, whatever ALTER DATABASE or ALTER ROLE says. The formats are
# those in which psycopg reads and writes values. At a stricter isolation level a write could miss
# the rows that its invalidation depends on. To compile a statement (jit), and to plan a prepared
# one anew for its values, takes longer than to run a short one.
SESSION_SETTINGS = {
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "standard_conforming_strings": "on",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "array_nulls": "on",
    "default_transaction_isolation": "read committed",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
}
_PREFIX = re.compile(
    r"\A(BEGIN ISOLATION[^;]*; |(RELEASE SAVEPOINT pcf_read; )?SAVEPOINT pcf_read; )?"
    r"((SET (LOCAL )?|RESET )statement_timeout[^;]*; )?"
)


def _no_hooks(_outcome: CommitOutcome) -> None:
    pass


class SharedSessionConnection(DeadlineConnection):
    """A connection through a pooler that shares sessions: it leaves no setting in its session."""

    keeps_session_limit = False


class DatabaseOperations(operations.DatabaseOperations):
    """Django's operations; the query log omits what the engine sends in front of a statement."""

    def last_executed_query(self, cursor: Any, sql: Any, params: Any) -> str:
        """Return the last statement of ``cursor`` with its parameters, as the caller wrote it."""
        text: str = super().last_executed_query(cursor, sql, params)
        own = text is None or kind_of(sql) is not StatementKind.QUERY
        return text if own else _PREFIX.sub("", text)


class DatabaseWrapper(PostgreSQLWrapper):
    """One thread's connection to one database.

    When the connection breaks, the next statement outside of a transaction gets a new one. Inside a
    transaction the transaction fails. The methods without an underscore that Django's wrapper has
    too are the interface of Django's database backends.
    """

    ops_class = DatabaseOperations
    connection: DeadlineConnection | None
    commit_outcome = CommitOutcome.ABORTED  # of the latest transaction
    _functions: ClassVar[dict[str, WritingFunctions]] = {}  # of the process, by alias
    _pools: ClassVar[dict[str, DeadlinePool]] = {}  # of the process, by alias

    @property
    def pool(self) -> DeadlinePool | None:
        """The process's pool of this alias, made at the first use; None without OPTIONS["pool"]."""
        options = self.settings_dict["OPTIONS"].get("pool")
        if self.alias == NO_DB_ALIAS or not options:
            return None
        pool = self._pools.get(self.alias)
        if pool is None:
            if self.settings_dict.get("CONN_MAX_AGE", 0) != 0:
                raise ImproperlyConfigured("a pool needs CONN_MAX_AGE = 0")
            pool = DeadlinePool(
                connection_class=self._connection_class(),
                kwargs={**self.get_connection_params(), "autocommit": True},
                open=False,  # a process that forks must not hold connections
                configure=self.configure_session,
                check_on_checkout=self.settings_dict["CONN_HEALTH_CHECKS"],
                name=self.alias,
                can_terminate=bool(self.settings_dict["OPTIONS"].get("replica")),
                **({} if options is True else options),
            )
            pool = self._pools.setdefault(self.alias, pool)
        return pool

    def close_pool(self) -> None:
        """Close the alias's pool if there is one; Django's method would make it first."""
        pool = self._pools.pop(self.alias, None)
        if pool is not None:
            pool.close()

    def _connection_class(self) -> type[DeadlineConnection]:
        keeps = self.settings_dict["OPTIONS"].get("session_statement_timeout", True)
        return DeadlineConnection if keeps else SharedSessionConnection

    def get_connection_params(self) -> dict[str, Any]:
        """Return Django's parameters, and TCP settings that detect a dead peer in time."""
        params = super().get_connection_params()
        if self.settings_dict["OPTIONS"].get("server_side_binding") is True:
            raise ImproperlyConfigured("server_side_binding cannot carry statement limits")
        for own_option in ("session_statement_timeout", "replica"):
            params.pop(own_option, None)
        params["context"] = with_fast_timestamps(params["context"])
        keepalives = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
        params = {**keepalives, **params}
        params.setdefault("tcp_user_timeout", int((config().timeouts.database + GRACE) * 1_000))
        return params

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Return a connection from the pool, or a new one.

        Raises InsufficientTime before an attempt when too little time is left.
        """
        context = current_timeout()
        if context is not None:
            statement_budget(context, config().timeouts)
        if self.pool:
            return super().get_new_connection(conn_params)
        level = self.settings_dict["OPTIONS"].get("isolation_level")
        self.isolation_level = IsolationLevel(level or IsolationLevel.READ_COMMITTED)
        if context is not None:  # libpq's connect_timeout is in whole seconds, two at least
            limits = conn_params.get("connect_timeout") or 5, max(1, round(context.remaining()))
            conn_params = {**conn_params, "connect_timeout": min(map(int, limits))}
        connection = in_thread(partial(self._connection_class().connect, **conn_params))
        if level is not None:
            connection.isolation_level = self.isolation_level
        return connection

    def connect_outside_pool(self) -> DeadlineConnection:
        """Return a new psycopg connection in autocommit mode; the caller closes it."""
        params = {**self.get_connection_params(), "autocommit": True}
        connection = self._connection_class().connect(**params)
        self._apply_settings(connection)
        return connection

    def configure_session(self, connection: DeadlineConnection) -> bool:
        """Configure a new session as Django does, and set ``SESSION_SETTINGS``.

        A pooled session also gets the usual limit. The session hooks run last.
        """
        connection.opened_at = monotonic()
        commit = super().configure_session(connection)
        started = self._apply_settings(connection)
        if self.pool and connection.keeps_session_limit:
            connection.apply_limit(usual_limit(), usual_limit())
        in_thread(run_session_hooks, self.alias, started)  # a hook may hold a lock while it waits
        return commit

    def _apply_settings(self, connection: DeadlineConnection) -> str:
        """Set ``SESSION_SETTINGS`` with one message; return the start of the server.

        A pooler that shares sessions moves those settings with the client that PostgreSQL reports,
        so the method sets reported ones alone, and only if they differ.
        """
        wanted = dict(SESSION_SETTINGS)
        if not connection.keeps_session_limit:
            reported = connection.info.parameter_status
            wanted = {
                name: value for name, value in wanted.items() if reported(name) not in {None, value}
            }
        elif self.settings_dict["OPTIONS"].get("isolation_level") is not None:
            del wanted["default_transaction_isolation"]  # psycopg sends the level with each BEGIN
        settings = [f"SET {name} = '{value}'" for name, value in wanted.items()]
        row = connection.execute("; ".join([SERVER_START, *settings])).fetchone()
        if not connection.autocommit:
            connection.commit()  # a rollback would undo the settings
        return str(row and row[0])

    def renew_sessions(self) -> None:
        """Have the pool replace its sessions after one refused a write, unless that one is new.

        A session keeps the ``default_transaction_read_only`` that it was opened with.
        """
        if self.pool is not None and self.is_session_old:
            self.pool.drain()

    @property
    def is_session_old(self) -> bool:
        """Whether the server may take the writes that this session refuses."""
        connection = self.connection
        return connection is not None and monotonic() - connection.opened_at > RENEW_AFTER

    def commits_alone(self, sql: Any) -> bool:
        """Return whether ``sql`` may write and the server would commit it without the hooks."""
        return (
            self.autocommit
            and not self.in_atomic_block
            and self.alias in connections
            and connections[self.alias] is self  # not a copy, nor a wrapper without a database
            and self._may_write(template_text(sql))
        )

    def _may_write(self, sql: str) -> bool:
        effect = effect_of(sql)
        if effect.writes or not effect.calls:
            return effect.writes
        functions = self._functions.setdefault(self.alias, WritingFunctions())
        return functions.among(effect.calls, self.connection)

    def send_commit(self) -> None:
        """Commit, with the commit hooks before and after (``pcf.database.transactions``).

        ``commit_outcome`` keeps the outcome. Raises ConnectionLost when the connection was lost
        before COMMIT was sent, and OutcomeUnknown when it was lost before the answer. An error of a
        hook before COMMIT passes through. After an error other than OutcomeUnknown the transaction
        is rolled back.
        """
        connection = self.connection
        status = None if connection is None else connection.pgconn.transaction_status
        if connection is None or status == TransactionStatus.IDLE:
            super().send_commit()  # there is nothing to commit
            return
        if connection.is_lost():
            raise ConnectionLost
        finish: AfterCommit = _no_hooks
        if status == TransactionStatus.INTRANS:
            finish = self._run_hooks()
        self.commit_outcome = CommitOutcome.UNKNOWN
        try:
            super().send_commit()
        except Error as error:
            if lost_reason(error.__cause__, connection) is not None:
                finish(CommitOutcome.UNKNOWN)
                raise OutcomeUnknown from error
            self.commit_outcome = CommitOutcome.ABORTED
            finish(CommitOutcome.ABORTED)
            if current_timeout() is not None and is_out_of_resources(error.__cause__):
                raise OutOfResources from error
            raise
        except BaseException:
            finish(CommitOutcome.UNKNOWN)
            raise
        self.commit_outcome = CommitOutcome.COMMITTED
        finish(CommitOutcome.COMMITTED)

    def _run_hooks(self) -> AfterCommit:
        """Run the commit hooks; raise ConnectionLost when they lose the connection."""
        try:
            with self.wrap_database_errors:
                return run_commit_hooks(self)
        except Error as error:
            if lost_reason(error.__cause__, self.connection) is not None:
                raise ConnectionLost from error
            raise

    def switch_autocommit(self, autocommit: bool) -> None:
        """Leave or enter autocommit mode, at the beginning or the end of a transaction.

        On a broken connection the end keeps the answer to COMMIT, and the beginning takes another
        connection.
        """
        if self.connection is not None and self.connection.autocommit == autocommit:
            return  # a connection from the pool is in autocommit mode already
        self._end_snapshot()
        try:
            super().switch_autocommit(autocommit)
        except Error as error:
            if lost_reason(error.__cause__, self.connection) is None:
                raise
            if autocommit:
                self.drop_connection()
                return
            if not self.abandon():
                raise
            self.connect()
            super().switch_autocommit(False)

    def _end_snapshot(self) -> None:
        connection = self.connection
        if connection is not None and connection.snapshot is not None and not connection.closed:
            connection.snapshot.end()  # what follows reads the present

    def close(self) -> None:
        """Give the connection back, outside of a transaction."""
        self._end_snapshot()
        super().close()

    def abandon(self) -> bool:
        """Give up a broken connection; return whether the next statement gets another.

        Inside a transaction the method returns False, because Django has to see the failure.
        """
        if self.in_atomic_block or not self.autocommit:
            return False
        if self.connection is not None:
            self.connection.close()  # the server may have ended the session and kept the socket
        self.close()
        return True

    def rows(self, read: ReadStatement, params: Sequence[Any]) -> Rows:
        """Return all rows of a SELECT, through a cursor that stays with the connection.

        To make a cursor takes as long as to read a row.
        """
        if self.execute_wrappers or self.force_debug_cursor:
            with self.cursor() as cursor:
                cursor.execute(read.text, params)
                return cast(Rows, cursor.fetchall())
        if self.connection is None:
            self.ensure_connection()
        connection = cast(DeadlineConnection, self.connection)
        cursor = self._read_cursor(connection)
        rows = cursor.rows(read, params)
        if cursor.keeps_rows and len(rows) > MAX_KEPT_ROWS:
            connection.read_cursor = None
        return rows

    def _read_cursor(self, connection: DeadlineConnection) -> ReadCursor:
        cursor: ReadCursor | None = connection.read_cursor
        if cursor is None or cursor.timezone is not self.timezone:
            cursor = connection.read_cursor = ReadCursor(self.cursor().cursor, self)
        cursor.db = self
        return cursor

    def send_pipeline(self, requests: Sequence[ReadRequest]) -> PreparedReads | None:
        """Send with one message the SELECTs that ``rows`` reads next, in this order.

        Returns the place of the results, for ``discard_results``; None when a pipeline is not
        possible, as before the first statement of a connection. The method raises no error:
        ``rows`` raises the error of its statement.
        """
        connection = self.connection
        if (
            connection is None
            or connection.closed
            or self.execute_wrappers
            or self.force_debug_cursor
        ):
            return None
        return self._read_cursor(connection).send_pipeline(requests)

    def discard_results(self, reads: PreparedReads) -> None:
        """Discard the results of a pipeline, also when another thread has the connection now."""
        reads.discard_results()
        if self.connection is not None and self.connection.closed:
            self.abandon()

    def chunked_cursor(self) -> CursorWrapper:
        """Return a server-side cursor; inside a TimeoutContext, an ordinary cursor.

        Each FETCH of a server-side cursor would have the full limit. The limits of a request bound
        the rows that it reads anyway.
        """
        return super().chunked_cursor() if current_timeout() is None else self.cursor()

    def make_cursor(self, cursor: Any) -> CursorWrapper:
        """Return the wrapper of psycopg's ``cursor``."""
        return DeadlineCursor(cursor, self)

    def make_debug_cursor(self, cursor: Any) -> Any:
        """Return the wrapper with Django's log of queries."""
        return DeadlineDebugCursor(cursor, self)
