"""The UTC loader reads the same timestamps as Django's cursors."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import DataError, connection
from django.db.backends.postgresql.psycopg_any import register_tzloader
from hypothesis import example, given
from hypothesis import strategies as st

from pcf.database.prepared_statements import ReadStatement

pytestmark = pytest.mark.django_db(transaction=True)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
READ = ReadStatement("SELECT %s::text::timestamptz", b"SELECT $1::text::timestamptz")


@pytest.fixture
def in_zone():
    """``in_zone(name)`` sets the connection's time zone until the end of the test."""

    def speak(name):
        connection.timezone_name, connection.timezone = name, ZoneInfo(name)
        connection.ensure_timezone()

    yield speak
    del connection.timezone, connection.timezone_name
    connection.close()
    connection.close_pool()  # the sessions of the pool have that zone


def both(text):
    """The value of a prepared statement and of a cursor; for an error, its class."""
    for _ in range(2):  # after an error the statement is sent as text, then prepared again
        connection.rows(READ, ["2026-01-01 00:00:00+00"])
    return read(lambda: connection.rows(READ, [text])[0][0]), read(lambda: by_cursor(text))


def by_cursor(text):
    with connection.cursor() as cursor:
        register_tzloader(connection.timezone, cursor.cursor)  # Django's own
        cursor.execute(READ.text, [text])
        return cursor.fetchone()[0]


def read(how):
    try:
        found = how()
    except DataError as error:
        return DataError, str(error).split("\n")[0]
    return found, found.tzinfo, found.fold


ODD = ["infinity", "-infinity", "0044-03-15 12:00:00+00 BC", "10000-01-01 00:00:00+00"]


SECONDS = st.integers(-62_135_510_400, 253_402_214_400)  # from the year 1 to the year 9999


@given(SECONDS, st.integers(0, 999_999))
@example(0, 0)
@example(0, 100_000)
@example(-62_135_510_400, 1)
def test_times_in_utc(seconds, microseconds):
    moment = EPOCH + timedelta(seconds=seconds, microseconds=microseconds)
    fast, usual = both(moment.isoformat(" "))
    assert fast == usual == (moment, UTC, 0)


@pytest.mark.parametrize("text", ODD)
def test_years_out_of_range_are_the_same_error(text):
    fast, usual = both(text)
    assert fast == usual
    assert fast[0] is DataError


@pytest.mark.parametrize("zone", ["Europe/London", "America/New_York", "Asia/Kolkata", "UTC"])
@pytest.mark.parametrize(
    "text", ["2026-01-02 03:04:05+00", "2026-07-01 00:00:00.5+00", "2026-10-25 01:30:00+00"]
)
def test_times_in_other_zones(in_zone, zone, text):
    in_zone(zone)
    fast, usual = both(text)
    assert fast == usual
    assert fast[1] is connection.timezone
