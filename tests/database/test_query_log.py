"""The count of a request's statements, and the log of slow ones."""

import logging

import pytest
from django.db import DatabaseError
from django.test.utils import CaptureQueriesContext
from psycopg import sql

from pcf.database.query_log import count_queries
from pcf.database.sql_text import fingerprint
from pcf.observability import metrics
from pcf.timeouts import DeadlineExceeded, TimeoutContext, activate
from tests.database.conftest import value_of


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


def test_logs_nest(wrapper, one):
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
    before = value_of(metrics.db_slow_statements)
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
    assert value_of(metrics.db_slow_statements) == before + 1


def test_fast_statements_are_not_logged_and_long_texts_are_cut(wrapper, one, configure, caplog):
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


def test_composed_statements_run_under_a_limit(wrapper, one):
    with activate(TimeoutContext.start("http", 5)):
        assert one(wrapper, sql.SQL("SELECT {}").format(5)) == (5,)
        assert one(wrapper, b"SELECT 6") == (6,)
