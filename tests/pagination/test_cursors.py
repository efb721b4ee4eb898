"""A cursor is the same text, whichever library has written its JSON."""

import json
from base64 import urlsafe_b64decode
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pcf.pagination.pages import make_cursor

ODD_ZONE = timezone(timedelta(minutes=53, seconds=28))
VALUES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.datetimes(timezones=st.sampled_from([UTC, ODD_ZONE]) | st.none()),
    st.dates(),
    st.times(),
    st.uuids(),
)


def content_of(cursor):
    return json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))


def plain(value):
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value


@given(st.text(st.characters(exclude_categories=["Cs"])), st.lists(VALUES, max_size=3))
@example("-at,id", [datetime(1, 1, 1, tzinfo=ODD_ZONE), 2**63 - 1])
@example("n", [2**64, "\x00\x7f\u2028é"])
@example("x", [float("inf"), -0.0, 1e300])
def test_a_cursor_holds_its_order_and_its_values(order, values):
    found = content_of(make_cursor(order, values))
    assert repr(found) == repr([order, *map(plain, values)])


@pytest.mark.parametrize(
    ("value", "text"),
    [(timedelta(days=1, seconds=2), "1 00:00:02"), (Decimal("1.20"), "1.20")],
)
def test_a_cursor_holds_durations_and_decimal_numbers_as_texts(value, text):
    assert content_of(make_cursor("x", [value])) == ["x", text]


def test_a_value_that_json_cannot_hold_is_an_error():
    with pytest.raises(TypeError, match="a cursor cannot hold a value of the type bytes"):
        make_cursor("x", [b""])
