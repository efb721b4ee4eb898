"""Statements that may write are known by their text, whatever stands in front of the verb."""

from contextlib import closing

import pytest
from django.db import connection

from pcf.cache.redis_gateway import RedisGateway
from pcf.database.sql_text import effect_of


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE t SET a = 1",
        "/* x */ UPDATE t SET a = 1",
        "/* a /* nested */ comment */UPDATE t SET a = 1",
        "-- why\nUPDATE t SET a = 1",
        "-- why\r\n  /* how */\tdelete from t",
        "WITH x AS (SELECT 1) UPDATE t SET a = 1",
        "WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x",
        "/* x */ with x as (insert into t values (1) returning a) select 1",
        "(WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x)",
        "EXPLAIN ANALYZE UPDATE t SET a = 1",
        "EXPLAIN (ANALYZE, COSTS off) DELETE FROM t",
        "EXPLAIN ANALYZE EXECUTE change",
        "CALL change()",
        "DO $$ BEGIN UPDATE t SET a = 1; END $$",
        "EXECUTE change",
        "COPY t FROM STDIN",
        "COPY (DELETE FROM t RETURNING *) TO STDOUT",
        "MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN DELETE",
        "TRUNCATE t",
        "SELECT 1; UPDATE t SET a = 1",
        ";;UPDATE t SET a = 1",
        "SELECT ';' /* ; */; DELETE FROM t",
        "SELECT $$ ; $$, $a$ $$ $a$; DELETE FROM t",
        "SELECT E'it\\'s'; DELETE FROM t",
    ],
)
def test_statements_that_write(sql):
    assert effect_of(sql).writes


@pytest.mark.parametrize(
    "sql",
    [
        "",
        ";",
        "SELECT 1",
        "SELECT 'UPDATE t'",
        "SELECT a -- ; UPDATE t",
        "SELECT 1 /* ; DELETE FROM t */",
        "SELECT 1 /* ; DELETE FROM t",
        "SELECT $$; DELETE FROM t$$",
        'SELECT "update" FROM "delete"',
        "WITH x AS (SELECT 1) SELECT * FROM x",
        "EXPLAIN SELECT 1",
        "VACUUM t",
        "SET x = 1",
        "CREATE INDEX CONCURRENTLY i ON t (a)",
        "BEGIN; UPDATE t SET a = 1; COMMIT",
        "COMMIT",
    ],
)
def test_statements_that_do_not_write_or_commit_by_themselves(sql):
    assert effect_of(sql) == (False, False, frozenset())


@pytest.mark.parametrize(
    ("sql", "called"),
    [
        ("SELECT change()", {"change"}),
        ('SELECT public."Change It" (1)', {"Change It"}),
        ("SELECT * FROM Change(1), LATERAL other(2)", {"change", "other"}),
        ("VALUES (change())", {"change"}),
        ("WITH x AS (SELECT change()) SELECT * FROM x", {"change"}),
        ("SELECT count(*), COALESCE(max(a), 1) FROM t WHERE a IN (1) AND (b)", set()),
        ("SELECT 'change()'", set()),
    ],
)
def test_functions_that_a_statement_calls(sql, called):
    assert effect_of(sql) == (False, False, called)


# --- writes in autocommit mode


@pytest.fixture
def blocked(live_world, monkeypatch):
    """The names that commits block in Redis."""
    names = []
    block = RedisGateway.block

    def spy(self, transaction, marked):
        names.extend(marked)
        return block(self, transaction, marked)

    monkeypatch.setattr(RedisGateway, "block", spy)
    return names


@pytest.fixture
def change(live_world):
    """Functions and procedures that rename tags."""
    body = "UPDATE tags_tag SET name = name || '!'"
    created = [
        f"CREATE FUNCTION change() RETURNS void LANGUAGE sql AS $$ {body} $$",
        f'CREATE FUNCTION "Change It"() RETURNS void LANGUAGE sql AS $$ {body} $$',
        f"CREATE PROCEDURE change_it() LANGUAGE sql AS $$ {body} $$",
        (
            "CREATE PROCEDURE change_and_commit() LANGUAGE plpgsql AS $$ "
            f"BEGIN {body}; COMMIT; {body}; END $$"
        ),
    ]
    with connection.cursor() as cursor:
        for statement in created:
            cursor.execute(statement)
    connection._functions.clear()
    yield
    with connection.cursor() as cursor:
        cursor.execute('DROP FUNCTION change, "Change It"')
        cursor.execute("DROP PROCEDURE change_it, change_and_commit")


@pytest.mark.parametrize(
    "sql",
    [
        "/* x */ UPDATE tags_tag SET name = name || '!'",
        "-- x\nUPDATE tags_tag SET name = name || '!'",
        "WITH x AS (UPDATE tags_tag SET name = name || '!' RETURNING *) SELECT * FROM x",
        "EXPLAIN ANALYZE UPDATE tags_tag SET name = name || '!'",
        "SELECT change()",
        'SELECT * FROM public."Change It"()',
        "CALL change_it()",
        "DO $$ BEGIN PERFORM change(); END $$",
        "SELECT 1; UPDATE tags_tag SET name = name || '!'",
        "TRUNCATE tags_tag CASCADE",
        (
            "MERGE INTO tags_tag t USING tags_tag s ON t.id = s.id"
            " WHEN MATCHED THEN UPDATE SET name = s.name || '!'"
        ),
    ],
)
def test_a_write_in_autocommit_mode_blocks_what_it_touches(live_world, change, blocked, sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
    assert {f"tag:{live_world.red.pk}", "tag!"} & set(blocked)


def test_other_methods_of_cursors(live_world, change, blocked):
    name = f"tag:{live_world.red.pk}"
    with connection.cursor() as cursor:
        cursor.callproc("change")
        assert name in blocked
        blocked.clear()
        update = "/* x */ UPDATE tags_tag SET name = name || %s"
        cursor.executemany(update, [("?",), ("?",)])
        assert name in blocked
        blocked.clear()
        with closing(cursor.stream(f"{update} RETURNING name", ("?",))) as rows:
            assert len(list(rows)) == 2
        assert name in blocked


def test_a_procedure_that_commits_by_itself_runs_once(live_world, change, blocked):
    with connection.cursor() as cursor:
        cursor.execute("CALL change_and_commit()")
        live_world.red.refresh_from_db()
        assert live_world.red.name == "red!!"
        # the relay delivers what such a procedure leaves in the outbox
        cursor.execute("SELECT count(*) FROM pcf_touch")
        assert cursor.fetchone() == (2,)
        cursor.execute("DELETE FROM pcf_touch")


def test_statements_that_refuse_a_transaction_still_run(live_world):
    with connection.cursor() as cursor:
        cursor.execute("/* x */ VACUUM tags_tag")
        cursor.execute("BEGIN; UPDATE tags_tag SET name = name || '!'; COMMIT")
        cursor.execute("DELETE FROM pcf_touch")


def test_reads_get_no_transaction(live_world, django_assert_num_queries):
    with django_assert_num_queries(2), connection.cursor() as cursor:
        cursor.execute("SELECT count(*), lower(max(name)) FROM tags_tag WHERE id IN (1, 2)")
        cursor.execute("SELECT age(now())")
