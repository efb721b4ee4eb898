"""The kind, the template and the normalized text of statements."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import sql

from pcf.database.sql_text import MAX_LENGTH, StatementKind, kind_of, normalize, template_text


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
def test_normalized_texts(statement, expected):
    assert normalize(statement) == expected


def quoted(text):
    return "'" + text.replace("'", "''").replace("\\", "") + "'"


@given(st.text(st.characters(exclude_characters="\\")), st.integers(0))
def test_literals_are_removed(text, number):
    expected = normalize("SELECT a FROM t WHERE b = '' AND c = 0")
    assert normalize(f"SELECT a FROM t WHERE b = {quoted(text)} AND c = {number}") == expected  # noqa: S608


def test_long_texts_are_cut():
    assert len(normalize("SELECT " + "a + " * 1_000)) == MAX_LENGTH + 3


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("SELECT 1", StatementKind.QUERY),
        ("  select 1", StatementKind.QUERY),
        ("(SELECT 1) UNION SELECT 2", StatementKind.QUERY),
        ("-- why\n/* how\n */ WITH a AS (SELECT 1) SELECT * FROM a", StatementKind.QUERY),
        ('SAVEPOINT "a"', StatementKind.TRANSACTION_CONTROL),
        ('ROLLBACK TO SAVEPOINT "a"', StatementKind.TRANSACTION_CONTROL),
        ("SET x = 1", StatementKind.SETTING),
        ("VACUUM", StatementKind.OTHER),
        ("", StatementKind.OTHER),
        (b"SELECT 1", StatementKind.QUERY),
        (sql.SQL("INSERT INTO {} VALUES ({})").format(sql.Identifier("a"), 1), StatementKind.QUERY),
    ],
)
def test_kinds(statement, kind):
    assert kind_of(statement) is kind


def test_composed_literals_are_not_shown():
    composed = sql.SQL("SELECT {} FROM {}").format(sql.Literal("secret"), sql.Identifier("a"))
    assert template_text(composed) == 'SELECT %s FROM "a"'
