"""Sessions do not depend on the settings that an operator gives a database or a role."""

from datetime import UTC, date, datetime, timedelta

import pytest
from psycopg import IsolationLevel

from pcf.database.backend.base import SESSION_SETTINGS

OPERATORS = {
    "DateStyle": "German, DMY",
    "jit": "on",
    "plan_cache_mode": "force_custom_plan",
    "IntervalStyle": "iso_8601",
    "TimeZone": "America/St_Johns",
    "standard_conforming_strings": "off",
    "extra_float_digits": "-15",
    "bytea_output": "escape",
    "array_nulls": "off",
    "client_encoding": "LATIN1",
    "default_transaction_isolation": "serializable",
}
VALUES = {
    "timestamptz '2026-02-03 04:05:06.789+02'": datetime(2026, 2, 3, 2, 5, 6, 789000, tzinfo=UTC),
    "timestamp '2026-02-03 04:05:06'": datetime(2026, 2, 3, 4, 5, 6),  # noqa: DTZ001
    "date '2026-02-03'": date(2026, 2, 3),
    "interval '-1 day 2 hours'": timedelta(days=-1, hours=2),
    "1/3::float8": 1 / 3,
    r"'\x00ff5c'::bytea": b"\x00\xff\\",
    r"'a\b'": "a\\b",
    "'{NULL}'::int[]": [None],
    "chr(8364)": "\N{EURO SIGN}",
}


@pytest.fixture
def operators(other):
    """The operator has changed every setting for new sessions of the database."""
    name = other.info.dbname
    for setting, value in OPERATORS.items():
        other.execute(f"ALTER DATABASE \"{name}\" SET {setting} = '{value}'")
    yield
    other.execute(f'ALTER DATABASE "{name}" RESET ALL')


def values(execute):
    row = execute(f"SELECT {', '.join(VALUES)}")
    return [bytes(each) if isinstance(each, memoryview) else each for each in row]


@pytest.mark.parametrize("pool", [False, {"min_size": 1, "max_size": 1}])
def test_values_are_read_and_written_whatever_the_operator_sets(operators, make_wrapper, one, pool):
    wrapper = make_wrapper(pool=pool)
    assert values(lambda sql: one(wrapper, sql)) == list(VALUES.values())
    moment = datetime(2026, 2, 3, 2, 5, 6, tzinfo=UTC)
    given = [
        moment,
        date(2026, 2, 3),
        timedelta(days=-1, hours=2),
        1 / 3,
        b"\x00\\",
        "a\\'b",
        [None],
    ]
    row = one(wrapper, "SELECT %s, %s, %s, %s::float8, %s, %s, %s::int[]", given)
    assert [bytes(v) if isinstance(v, memoryview) else v for v in row] == given
    for name, value in SESSION_SETTINGS.items():
        assert one(wrapper, f"SHOW {name}") == (value,)


def test_the_relays_session_has_them_as_well(operators, wrapper):
    with wrapper.connect_outside_pool() as connection:
        for name, value in SESSION_SETTINGS.items():
            assert connection.execute(f"SHOW {name}").fetchone() == (value,)


def test_the_level_that_the_project_chooses_stays(operators, make_wrapper, one):
    wrapper = make_wrapper(pool=False, options={"isolation_level": IsolationLevel.REPEATABLE_READ})
    with wrapper.wrap_database_errors:
        wrapper.ensure_connection()
        wrapper.set_autocommit(False)
        assert one(wrapper, "SHOW transaction_isolation") == ("repeatable read",)
        wrapper.rollback()


def test_a_session_that_is_shared_gets_what_the_pooler_moves_with_the_client(
    operators, make_wrapper, one
):
    wrapper = make_wrapper(options={"session_statement_timeout": False})
    assert one(wrapper, "SELECT timestamptz '2026-02-03 02:05:06Z'") == (
        datetime(2026, 2, 3, 2, 5, 6, tzinfo=UTC),
    )
    assert one(wrapper, "SHOW bytea_output") == ("escape",)  # PostgreSQL does not report it
