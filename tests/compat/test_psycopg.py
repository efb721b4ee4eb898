"""The parts of psycopg that it does not document are as the engine expects them."""

import inspect
from collections.abc import Iterator
from time import monotonic
from typing import Any

import psycopg
import pytest
from django.db import connections
from psycopg import waiting

from pcf._compat.psycopg import (
    RowAdapter,
    WaitTimeout,
    error_of,
    exclusive,
    is_refusal,
    receive_pipelined_result,
    receive_result,
)
from pcf.database.connection import DeadlineConnection
from scripts.folders import server_account, throwaway
from tests.chaos.servers import Postgres, wait_for

CHANGED = f"psycopg {psycopg.__version__} has changed: see pcf/_compat/psycopg.py; "


@pytest.fixture
def connection(django_db_setup: None, django_db_blocker: Any) -> Iterator[psycopg.Connection[Any]]:
    """A plain connection to the test database in autocommit mode."""
    with django_db_blocker.unblock():
        params = connections["default"].get_connection_params()
    with psycopg.connect(**{**params, "autocommit": True}) as opened:
        yield opened


def test_wait_takes_a_timeout_and_raises_the_private_error(connection):
    names = list(inspect.signature(psycopg.Connection.wait).parameters)
    assert names == ["self", "gen", "interval", "timeout"], CHANGED + "Connection.wait"
    assert issubclass(WaitTimeout, psycopg.OperationalError), CHANGED + "errors._WaitTimeout"

    connection.pgconn.send_query(b"SELECT pg_sleep(0.4)")
    started = monotonic()
    with pytest.raises(WaitTimeout):
        connection.wait(_forever(), timeout=0.1)
    connection.close()  # its statement has no end yet
    assert monotonic() - started < 3, CHANGED + "Connection.wait does not end at its timeout"


def _forever():
    while True:
        yield waiting.WAIT_R


def test_cursors_wait_through_the_connection(django_db_setup, django_db_blocker):
    class Counting(DeadlineConnection):
        waits = 0

        def wait(self, *args: Any, **options: Any) -> Any:
            self.waits += 1
            return super().wait(*args, **options)

    with django_db_blocker.unblock():
        params = connections["default"].get_connection_params()
    with Counting.connect(**{**params, "autocommit": True}) as counting:
        before = counting.waits
        counting.execute("SELECT 1")
        assert counting.waits > before, CHANGED + "cursors do not use Connection.wait"


def test_a_prepared_statement_is_sent_and_read_without_a_cursor(connection):
    adapter = RowAdapter(connection)
    pgconn = connection.pgconn
    with exclusive(connection):
        pgconn.send_prepare(b"compat", b"SELECT $1::int, $2::text")
        assert receive_result(connection).error_message == b"", CHANGED + "generators.execute"
        pgconn.send_query_prepared(b"compat", adapter.dump([1, "one"]))
        rows = adapter.load(receive_result(connection))
    assert rows == [(1, "one")], CHANGED + "adapt.Transformer"


def test_a_pipeline_gives_each_statement_its_result(connection):
    adapter = RowAdapter(connection)
    pgconn = connection.pgconn
    connection.execute("PREPARE compat (int) AS SELECT 6 / $1")
    with exclusive(connection):
        pgconn.enter_pipeline_mode()
        for number in (2, 0, 3):
            pgconn.send_query_prepared(b"compat", adapter.dump([number]))
            pgconn.pipeline_sync()
        first, second, third = (receive_pipelined_result(connection, 0, 1) for _ in range(3))
        pgconn.exit_pipeline_mode()
    assert adapter.load(first) == [(3,)], CHANGED + "generators.fetch_many"
    error = error_of(second, connection)
    assert isinstance(error, psycopg.errors.DivisionByZero), CHANGED + "errors.error_from_result"
    assert adapter.load(third) == [(2,)], CHANGED + "generators.fetch_many"


def test_a_pipeline_on_a_lost_connection_is_an_operational_error(connection):
    pid = connection.info.backend_pid
    connection.pgconn.enter_pipeline_mode()
    connection.pgconn.send_query_params(b"SELECT pg_terminate_backend($1)", [str(pid).encode()])
    connection.pgconn.pipeline_sync()
    with pytest.raises(psycopg.OperationalError):
        for _ in range(2):
            receive_pipelined_result(connection, 0, 1)


REFUSED = CHANGED + "libpq writes errors of the server in another form"


def failure(**parameters):
    with pytest.raises(psycopg.OperationalError) as raised:
        psycopg.connect(**{**parameters, "connect_timeout": 2})
    return raised.value


def test_a_server_that_refuses_a_client_is_told_from_one_that_is_away(connection):
    info = connection.info
    here = {"host": info.host, "port": info.port, "user": info.user, "password": info.password}
    assert is_refusal(failure(**{**here, "dbname": "no_such_database"})), REFUSED
    assert not is_refusal(failure(**{**here, "port": 1})), REFUSED
    assert not is_refusal(failure(**{**here, "host": "/nowhere"})), REFUSED


def test_a_server_that_starts_up_refuses_nobody():
    """A standby that never becomes a hot one keeps the state of a server that starts up."""
    with throwaway(server_account()) as folder:
        server = Postgres(folder, "own", hot_standby="off").create()
        (server.data / "standby.signal").touch()
        server.launch()

        def state():
            error = failure(host="127.0.0.1", port=server.port, user="postgres")
            return error if "the database system is" in str(error) else None

        try:
            assert not is_refusal(wait_for("an answer", state)), REFUSED
        finally:
            server.close()
