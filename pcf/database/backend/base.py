"""``ENGINE = "pcf.database.backend"``: Django's PostgreSQL backend, made safe for requests.

What it adds, and only inside a TimeoutContext where deadlines are concerned:

* every statement runs under the rest of the request's budget, without additional round trips;
* a connection is waited for, connected and checked inside the deadline;
* reads declared idempotent are repeated on a fresh connection when theirs broke;
* statements are counted, timed, and logged when slow.

And everywhere: commits are guarded (``pcf.database.commits``). A statement in autocommit mode that
writes becomes a transaction of its own, so that its commit is guarded, too.

Outside a TimeoutContext (commands, migrations, a shell) PostgreSQL's own ``statement_timeout``
applies, so a long migration is not cut short; a pooled connection is set back to it first.

OPTIONS beyond Django's: ``session_statement_timeout`` (default True). False when a pooler such as
PgBouncer in transaction mode shares sessions: then every limit travels with its statement.
``replica`` (default False) marks a read replica, whose connections can be ended by whoever finds
it dead.
"""

import re
from collections.abc import Sequence
from typing import Any, ClassVar, cast

from django.core.exceptions import ImproperlyConfigured
from django.db import Error, connections
from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import base, operations
from django.db.backends.utils import CursorWrapper
from psycopg import IsolationLevel
from psycopg.pq import TransactionStatus

from pcf.apps import config
from pcf.database.backend.cursors import DeadlineCursor, DeadlineDebugCursor, Reader
from pcf.database.commits import Finish, Outcome, may_write, prepare
from pcf.database.connection import GRACE, Connection
from pcf.database.errors import ConnectionLost, OutcomeUnknown, OutOfResources
from pcf.database.pool import Pool
from pcf.database.reads import Asked, PreparedReads, ReadText, Rows
from pcf.database.retry import Commit, is_out_of_resources, lost_reason
from pcf.database.statements import Kind, kind_of, statement_budget, template_text, usual_limit
from pcf.timeouts import current_timeout

_KEPT_ROWS = 100  # that a cursor may keep when its request is over
_LIMIT = re.compile(r"\A(SET (LOCAL )?|RESET )statement_timeout[^;]*; ")


def _nothing(_outcome: Outcome) -> None:
    """Nobody guards this commit."""


class SharedSessionConnection(Connection):
    """A connection through a pooler: nothing may be left behind in its session."""

    keeps_session_limit = False


class DatabaseOperations(operations.DatabaseOperations):
    """Django's operations; logged statements do not show the limit sent in front of them."""

    def last_executed_query(self, cursor: Any, sql: Any, params: Any) -> str:
        """The last statement of ``cursor`` with its parameters, as the caller wrote it."""
        text: str = super().last_executed_query(cursor, sql, params)
        own = text is None or kind_of(sql) is not Kind.QUERY
        return text if own else _LIMIT.sub("", text)


class DatabaseWrapper(base.DatabaseWrapper):
    """One thread's connection; see the module's docstring."""

    ops_class = DatabaseOperations
    connection: Connection | None
    commit_state = Commit.NOT_SENT  # of the latest transaction
    _connection_pools: ClassVar[dict[str, Pool]] = {}

    @property
    def pool(self) -> Pool | None:
        """The process's pool of this alias, made on first use; None without OPTIONS["pool"]."""
        options = self.settings_dict["OPTIONS"].get("pool")
        if self.alias == NO_DB_ALIAS or not options:
            return None
        pool = self._connection_pools.get(self.alias)
        if pool is None:
            if self.settings_dict.get("CONN_MAX_AGE", 0) != 0:
                raise ImproperlyConfigured("a pool needs CONN_MAX_AGE = 0")
            pool = Pool(
                connection_class=self._connection_class(),
                kwargs={**self.get_connection_params(), "autocommit": True},
                open=False,  # a process that forks must not carry connections along
                configure=self._configure_connection,
                checked=self.settings_dict["CONN_HEALTH_CHECKS"],
                name=self.alias,
                can_hang_up=bool(self.settings_dict["OPTIONS"].get("replica")),
                **({} if options is True else options),
            )
            pool = self._connection_pools.setdefault(self.alias, pool)
        return pool

    def close_pool(self) -> None:
        """Close the alias's pool if there is one; Django's own would make it first."""
        pool = self._connection_pools.pop(self.alias, None)
        if pool is not None:
            pool.close()

    def _connection_class(self) -> type[Connection]:
        keeps = self.settings_dict["OPTIONS"].get("session_statement_timeout", True)
        return Connection if keeps else SharedSessionConnection

    def get_connection_params(self) -> dict[str, Any]:
        """Django's, and a kernel that notices a dead peer before the deadline does."""
        params = super().get_connection_params()
        if self.settings_dict["OPTIONS"].get("server_side_binding") is True:
            raise ImproperlyConfigured("server_side_binding cannot carry statement limits")
        params.pop("session_statement_timeout", None)
        params.pop("replica", None)
        params.setdefault("keepalives_idle", 30)
        params.setdefault("keepalives_interval", 10)
        params.setdefault("keepalives_count", 3)
        params.setdefault("tcp_user_timeout", int((config().timeouts.database + GRACE) * 1_000))
        return params

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """A connection from the pool, or a new one; raises ``InsufficientTime`` before trying."""
        context = current_timeout()
        if context is not None:
            statement_budget(context, config().timeouts)
        if self.pool:
            return super().get_new_connection(conn_params)
        level = self.settings_dict["OPTIONS"].get("isolation_level")
        self.isolation_level = IsolationLevel(level or IsolationLevel.READ_COMMITTED)
        if context is not None:  # psycopg knows whole seconds, two at least
            limits = conn_params.get("connect_timeout") or 5, max(1, round(context.remaining()))
            conn_params = {**conn_params, "connect_timeout": min(map(int, limits))}
        connection = self._connection_class().connect(**conn_params)
        if level is not None:
            connection.isolation_level = self.isolation_level
        return connection

    def connect_outside_pool(self) -> Connection:
        """A connection of psycopg's in autocommit mode that the caller owns and closes."""
        params = {**self.get_connection_params(), "autocommit": True}
        return self._connection_class().connect(**params)

    def _configure_connection(self, connection: Connection) -> bool:
        """Django's set-up of a new session; a pooled one also gets the usual limit, to keep."""
        commit: bool = super()._configure_connection(connection)  # type: ignore[misc]
        if self.pool and connection.keeps_session_limit:
            connection.limit_separately(usual_limit(), usual_limit())
        return commit

    def commits_alone(self, sql: Any) -> bool:
        """Whether ``sql`` may write and would be committed by the server behind our back."""
        return (
            self.autocommit
            and not self.in_atomic_block
            and may_write(template_text(sql))
            and self.alias in connections.settings
            and connections[self.alias] is self  # not a copy, or one without a database
        )

    def _commit(self) -> None:
        """COMMIT, with those who guard it (``pcf.database.commits``) told before and after.

        ``commit_state`` remembers how far it came. Raises ``ConnectionLost`` when the connection
        was lost before, ``OutcomeUnknown`` when it was lost while the answer was awaited, and
        whatever a guard raises before it; the transaction is rolled back then.
        """
        connection = self.connection
        status = None if connection is None else connection.pgconn.transaction_status
        if connection is None or status == TransactionStatus.IDLE:
            super()._commit()  # type: ignore[misc] # nothing to commit
            return
        if connection.lost():
            raise ConnectionLost
        finish: Finish = _nothing
        if status == TransactionStatus.INTRANS:
            finish = self._prepared_commit()
        self.commit_state = Commit.UNKNOWN
        try:
            super()._commit()  # type: ignore[misc]
        except Error as error:
            if lost_reason(error.__cause__, connection) is not None:
                finish(Outcome.UNKNOWN)
                raise OutcomeUnknown from error
            self.commit_state = Commit.NOT_SENT
            finish(Outcome.ABORTED)
            if current_timeout() is not None and is_out_of_resources(error.__cause__):
                raise OutOfResources from error
            raise
        except BaseException:
            finish(Outcome.UNKNOWN)
            raise
        self.commit_state = Commit.DONE
        finish(Outcome.COMMITTED)

    def _set_autocommit(self, autocommit: bool) -> None:
        """Django's, at the beginning and the end of a transaction, also on a broken connection.

        At the end what COMMIT said stands, whatever happened to the connection since. At the
        beginning another one will do.
        """
        if self.connection is not None and self.connection.autocommit == autocommit:
            return  # as nearly always when a connection has come from the pool
        try:
            super()._set_autocommit(autocommit)  # type: ignore[misc]
        except Error as error:
            if lost_reason(error.__cause__, self.connection) is None:
                raise
            if autocommit:  # not close(), which would forget the on_commit hooks
                self._close()  # type: ignore[attr-defined]
                self.connection = None
                return
            if not self.abandon():
                raise
            self.connect()
            super()._set_autocommit(False)  # type: ignore[misc]

    def _prepared_commit(self) -> Finish:
        """What the guards of a commit want to be told; ``ConnectionLost`` if they lost it."""
        try:
            with self.wrap_database_errors:
                return prepare(self)
        except Error as error:
            if lost_reason(error.__cause__, self.connection) is not None:
                raise ConnectionLost from error
            raise

    def abandon(self) -> bool:
        """Give up a broken connection, so that the next statement gets another; whether it did.

        Inside a transaction it does not: Django has to see the transaction fail.
        """
        if self.in_atomic_block or not self.autocommit:
            return False
        if self.connection is not None:
            self.connection.close()  # the server may have said farewell without hanging up yet
        self.close()
        return True

    def rows(self, read: ReadText, params: Sequence[Any]) -> Rows:
        """All rows of a SELECT, through a cursor that is kept with the connection: making one takes
        as long as reading a row.
        """
        if self.execute_wrappers or self.queries_logged:
            with self.cursor() as cursor:
                cursor.execute(read.text, params)
                return cast(Rows, cursor.fetchall())
        if self.connection is None:
            self.ensure_connection()
        connection = cast(Connection, self.connection)
        reader = self._reader(connection)
        rows = reader.rows(read, params)
        if reader.keeps_rows and len(rows) > _KEPT_ROWS:
            connection.reader = None
        return rows

    def _reader(self, connection: Connection) -> Reader:
        reader: Reader | None = connection.reader
        if reader is None or reader.timezone is not self.timezone:
            reader = connection.reader = Reader(self.cursor().cursor, self)
        reader.db = self
        return reader

    def read_ahead(self, asked: Sequence[Asked]) -> PreparedReads | None:
        """Send SELECTs at once that ``rows`` will be asked for in this order, where that can be;
        it cannot before the first statement. Never fails: ``rows`` does. Returns where the results
        are, for ``forget_ahead``.
        """
        connection = self.connection
        if connection is None or connection.closed or self.execute_wrappers or self.queries_logged:
            return None
        return self._reader(connection).read_ahead(asked)

    def forget_ahead(self, reads: PreparedReads) -> None:
        """Forget what was read ahead and not asked for, also if its connection is another's now."""
        reads.forget_ahead()
        if self.connection is not None and self.connection.closed:
            self.abandon()

    def chunked_cursor(self) -> CursorWrapper:
        """Django's server-side cursor, whose every FETCH would have the full limit; in a
        TimeoutContext an ordinary cursor: what a request reads is bounded anyway.
        """
        return super().chunked_cursor() if current_timeout() is None else self.cursor()

    def make_cursor(self, cursor: Any) -> CursorWrapper:
        """The cursor that statements go through."""
        return DeadlineCursor(cursor, self)

    def make_debug_cursor(self, cursor: Any) -> Any:
        """The same, with Django's log of queries."""
        return DeadlineDebugCursor(cursor, self)
