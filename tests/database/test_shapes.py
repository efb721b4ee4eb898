"""Statements without their values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcf.database.shapes import SHOWN, shape


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT  1,\n 'a''b' FROM t1", "SELECT ?, ... FROM t1"),
        ("SELECT * FROM t WHERE a = %s AND b = 7.5e3", "SELECT * FROM t WHERE a = %s AND b = ?"),
        ('SELECT "its 5" FROM "t2"', 'SELECT "its 5" FROM "t2"'),
        ("WHERE id IN (%s, %s, %s)", "WHERE id IN (%s, ...)"),
        (
            "INSERT INTO t VALUES (%s, %s), (%s, %s), (%s, %s)",
            "INSERT INTO t VALUES (%s, ...), ...",
        ),
        ("SELECT E'a\\'b', $$secret$$, $x$secret$x$", "SELECT ?, ..."),
        ("SELECT a -- secret\n FROM t /* secret */", "SELECT a FROM t"),
        ("LIMIT 21 OFFSET 5", "LIMIT ? OFFSET ?"),
        ("SELECT c1, c2_3 FROM t", "SELECT c1, c2_3 FROM t"),
    ],
)
def test_shapes(statement, expected):
    assert shape(statement) == expected


def quoted(text):
    return "'" + text.replace("'", "''").replace("\\", "") + "'"


@given(st.text(st.characters(exclude_characters="\\")), st.integers(0))
def test_literals_never_show(text, number):
    expected = shape("SELECT a FROM t WHERE b = '' AND c = 0")
    assert shape(f"SELECT a FROM t WHERE b = {quoted(text)} AND c = {number}") == expected  # noqa: S608


def test_long_ones_are_cut():
    assert len(shape("SELECT " + "a + " * 1_000)) == SHOWN + 3
