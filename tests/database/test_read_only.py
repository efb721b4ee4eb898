"""A PostgreSQL that takes no writes: reads are answered, writes are refused, and it ends."""

import psycopg
import pytest
from django.db import InternalError, connections

from pcf.database.backend.base import RENEW_AFTER
from pcf.database.transactions import run_transaction
from pcf.errors import ReadOnlyDatabase
from pcf.timeouts import TimeoutContext, activate

WRITE = "CREATE TABLE never (id int)"


def under(seconds):
    return activate(TimeoutContext.start("http", seconds))


@pytest.fixture
def read_only(other):
    """``read_only(True)`` makes new sessions of the test database read-only."""
    name = other.info.dbname

    def switch(on):
        value = "on" if on else "DEFAULT"
        other.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = {value}')

    yield switch
    switch(False)


def age(wrapper):
    """Make the session of ``wrapper`` so old that its refusals may be out of date."""
    wrapper.connection.opened_at -= 2 * RENEW_AFTER


def test_a_write_says_that_the_database_takes_none(read_only, make_wrapper, one):
    read_only(True)
    wrapper = make_wrapper()
    with under(30), pytest.raises(ReadOnlyDatabase) as raised:
        one(wrapper, WRITE)
    assert raised.value.code == "SERVICE_UNAVAILABLE"
    with pytest.raises(InternalError) as own:  # outside of requests, Django's own error
        one(wrapper, WRITE)
    assert isinstance(own.value.__cause__, psycopg.errors.ReadOnlySqlTransaction)
    assert one(wrapper, "SELECT 1") == (1,)


def test_a_new_session_is_asked_before_a_transaction_is_refused(read_only, make_wrapper, one):
    read_only(True)
    wrapper = make_wrapper(pool={"min_size": 2, "max_size": 2})
    connections.settings[wrapper.alias] = wrapper.settings_dict
    try:
        one(wrapper, "SELECT 1")
        wrapper.pool.putconn(wrapper.pool.getconn(20))  # the second session is open, too
        age(wrapper)
        read_only(False)
        with under(30):  # the read-only sessions are replaced, and the first write succeeds
            run_transaction(
                lambda: one(wrapper, "CREATE TABLE read_only_made (id int)"), using=wrapper.alias
            )
            run_transaction(lambda: one(wrapper, "DROP TABLE read_only_made"), using=wrapper.alias)
    finally:
        del connections.settings[wrapper.alias]


def test_a_new_session_that_refuses_is_believed(read_only, make_wrapper, one):
    read_only(True)
    wrapper = make_wrapper()
    connections.settings[wrapper.alias] = wrapper.settings_dict
    tries = []

    def write():
        tries.append(one(wrapper, "SELECT pg_backend_pid()"))
        one(wrapper, WRITE)

    try:
        with under(30), pytest.raises(ReadOnlyDatabase):
            run_transaction(write, using=wrapper.alias)
        assert len(tries) == 1
        age(wrapper)
        with under(30), pytest.raises(ReadOnlyDatabase):
            run_transaction(write, using=wrapper.alias)
        assert len(tries) == 3
        assert tries[1] != tries[2]
    finally:
        del connections.settings[wrapper.alias]


def test_a_refused_write_replaces_the_idle_sessions_as_well(read_only, make_wrapper, one):
    read_only(True)
    wrapper = make_wrapper(pool={"min_size": 2, "max_size": 2})
    one(wrapper, "SELECT 1")
    wrapper.pool.putconn(wrapper.pool.getconn(20))  # the second session is open, too
    read_only(False)
    age(wrapper)
    with under(30), pytest.raises(ReadOnlyDatabase):
        one(wrapper, WRITE)
    wrapper.close()
    held = [wrapper.pool.getconn(20) for _ in range(2)]
    states = [c.execute("SHOW transaction_read_only").fetchone()[0] for c in held]
    for connection in held:
        wrapper.pool.putconn(connection)
    assert states == ["off", "off"]
