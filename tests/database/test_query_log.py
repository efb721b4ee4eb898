"""Counting statements, and writing down the slow ones."""

import logging

import pytest
from django.db import DatabaseError
from django.test.utils import CaptureQueriesContext
from psycopg import sql

from pcf import metrics
from pcf.database.statements import Kind, count_queries, fingerprint, kind_of, template_text
from pcf.timeouts import DeadlineExceeded, TimeoutContext, activate


def test_every_path_counts(wrapper):
    with count_queries(keep_texts=True) as log, wrapper.cursor() as cursor:
        cursor.execute("SELECT %s", [1])
        cursor.executemany("SELECT %s", [(1,), (2,)])
        with cursor.copy("COPY (SELECT 1) TO STDOUT") as copy:
            list(copy)
        assert list(cursor.stream("SELECT 1")) == [(1,)]
        cursor.callproc("pg_backend_pid")
        with pytest.raises(DatabaseError):
            cursor.execute("SELECT 1 / 0")
    assert log.statements == [
        "SELECT %s",
        "SELECT %s",
        "COPY (SELECT 1) TO STDOUT",
        "SELECT 1",
        "CALL pg_backend_pid",
        "SELECT 1 / 0",
    ]
    assert log.count == 6
    assert log.seconds > 0


def test_server_side_cursors_count(wrapper):
    with count_queries() as log, wrapper.cursor() as cursor:
        cursor.execute("BEGIN")
        with wrapper.chunked_cursor() as chunked:
            chunked.execute("SELECT generate_series(1, 3)")
            assert chunked.fetchall() == [(1,), (2,), (3,)]
        cursor.execute("COMMIT")
    assert log.count == 3


def test_counts_nest_and_end(wrapper, one):
    with count_queries() as outer:
        one(wrapper, "SELECT 1")
        with count_queries() as inner:
            one(wrapper, "SELECT 1")
    one(wrapper, "SELECT 1")
    assert (outer.count, inner.count) == (2, 1)
    assert outer.statements is None


def test_djangos_own_log_agrees(wrapper, one):
    with CaptureQueriesContext(wrapper) as captured, count_queries() as log, wrapper.cursor() as c:
        c.execute("SELECT %s", [1])
        with c.copy("COPY (SELECT 1) TO STDOUT") as copy:
            list(copy)
    assert [entry["sql"] for entry in captured.captured_queries] == [
        "SELECT 1",
        "COPY (SELECT 1) TO STDOUT",
    ]
    assert log.count == 2


def test_statements_are_timed_for_prometheus(wrapper, one):
    def observed():
        samples = next(iter(metrics.db_statement_duration.collect())).samples
        return next(sample.value for sample in samples if sample.name.endswith("_count"))

    before = observed()
    one(wrapper, "SELECT 1")
    assert observed() == before + 1


def test_a_slow_statement_is_logged_without_its_parameters(wrapper, one, configure, caplog):
    configure("database", slow_statement=0.05)
    before = metrics.db_slow_statements._value.get()
    with (
        activate(TimeoutContext.start("http", 30)),
        caplog.at_level(logging.WARNING, "pcf.database"),
    ):
        one(wrapper, "SELECT pg_sleep(0.06),\n       %s", ["secret"])
    (record,) = [r for r in caplog.records if r.name == "pcf.database"]
    assert record.levelno == logging.WARNING
    message = record.getMessage()
    assert message.startswith("SLOW QUERY 0.")
    mark = fingerprint("SELECT pg_sleep(1), %s")
    assert message.endswith(f"s (budget 20 s, {mark}): SELECT pg_sleep(?), %s")
    assert metrics.db_slow_statements._value.get() == before + 1


def test_quick_statements_are_not_logged_and_long_texts_are_cut(wrapper, one, configure, caplog):
    with caplog.at_level(logging.WARNING, "pcf.database"):
        one(wrapper, "SELECT 1")
        assert not [r for r in caplog.records if r.name == "pcf.database"]
        configure("database", slow_statement=0.0)
        one(wrapper, "SELECT 1" + " + 1" * 2_000)
    (record,) = [r for r in caplog.records if r.name == "pcf.database"]
    assert "(budget none, " in record.getMessage()
    assert len(record.getMessage()) < 1_100


def test_a_statement_that_ran_out_of_time_is_logged_as_slow(wrapper, one, configure, caplog):
    configure("database", slow_statement=0.05)
    configure("timeouts", database=0.1)
    with (
        activate(TimeoutContext.start("http", 30)),
        caplog.at_level(logging.WARNING, "pcf.database"),
        pytest.raises(DeadlineExceeded),
    ):
        one(wrapper, "SELECT pg_sleep(5)")
    assert "SLOW QUERY" in caplog.text


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("SELECT 1", Kind.QUERY),
        ("  select 1", Kind.QUERY),
        ("(SELECT 1) UNION SELECT 2", Kind.QUERY),
        ("-- why\n/* how\n */ WITH a AS (SELECT 1) SELECT * FROM a", Kind.QUERY),
        ('SAVEPOINT "a"', Kind.HOUSEKEEPING),
        ('ROLLBACK TO SAVEPOINT "a"', Kind.HOUSEKEEPING),
        ("SET x = 1", Kind.SETTING),
        ("VACUUM", Kind.OTHER),
        ("", Kind.OTHER),
        (b"SELECT 1", Kind.QUERY),
        (sql.SQL("INSERT INTO {} VALUES ({})").format(sql.Identifier("a"), 1), Kind.QUERY),
    ],
)
def test_kinds(statement, kind):
    assert kind_of(statement) is kind


def test_composed_literals_are_not_shown():
    composed = sql.SQL("SELECT {} FROM {}").format(sql.Literal("secret"), sql.Identifier("a"))
    assert template_text(composed) == 'SELECT %s FROM "a"'


def test_composed_statements_run_under_a_limit(wrapper, one):
    with activate(TimeoutContext.start("http", 5)):
        assert one(wrapper, sql.SQL("SELECT {}").format(5)) == (5,)
        assert one(wrapper, b"SELECT 6") == (6,)
