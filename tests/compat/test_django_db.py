"""The parts of Django's database layer that it does not document are as the engine expects them."""

import django
import pytest
from django.db import connection, connections, transaction
from django.db.models import F

from notes.models import Note
from pcf._compat.django_db import (
    PostgreSQLWrapper,
    StatementCursor,
    compile_select,
    converters_of,
    wrap_select,
    write_literals,
)
from tags.models import Tag

CHANGED = f"Django {django.__version__} has changed: see pcf/_compat/django_db.py; "


class Recorder(PostgreSQLWrapper):
    """Records the hooks that Django calls."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.calls = []

    def send_commit(self):
        self.calls.append("commit")
        super().send_commit()

    def switch_autocommit(self, autocommit):
        self.calls.append(autocommit)
        super().switch_autocommit(autocommit)

    def configure_session(self, connection):
        self.calls.append("configure")
        return super().configure_session(connection)

    def make_cursor(self, cursor):
        return RecordingCursor(cursor, self)


class RecordingCursor(StatementCursor):
    def run_statement(self, sql, params):
        self.db.calls.append(sql)
        return super().run_statement(sql, params)

    def run_many(self, sql, param_list):
        self.db.calls.append(("many", sql))
        return super().run_many(sql, param_list)


@pytest.fixture
def recorder(django_db_setup, django_db_blocker):
    """A wrapper without a pool on the test database."""
    with django_db_blocker.unblock():
        base = connections["default"].settings_dict
        options = {k: v for k, v in base["OPTIONS"].items() if k not in {"pool", "replica"}}
        options.pop("session_statement_timeout", None)
        wrapper = Recorder({**base, "OPTIONS": options}, alias="recorder")
        connections["recorder"] = wrapper
        yield wrapper
        wrapper.close()
        del connections["recorder"]


def test_a_transaction_calls_the_hooks_of_the_backend(recorder):
    with transaction.atomic(using="recorder"), recorder.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.executemany("SELECT %s", [(1,), (2,)])
    hooks = ["configure", False, "SELECT 1", ("many", "SELECT %s"), "commit", True]
    calls = [call for call in recorder.calls if call in hooks]
    assert calls[-5:] == hooks[1:], CHANGED + "hooks of DatabaseWrapper and CursorWrapper"
    assert "configure" in calls, CHANGED + "DatabaseWrapper._configure_connection"


def test_statements_run_below_the_execute_wrappers(recorder):
    seen = []

    def wrapper(execute, sql, *rest):
        seen.append(sql)
        return execute("SELECT 2", *rest)

    with recorder.execute_wrapper(wrapper), recorder.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (2,), CHANGED + "CursorWrapper._execute"
    assert seen == ["SELECT 1"]
    assert "SELECT 2" in recorder.calls


def test_a_dropped_connection_keeps_its_on_commit_hooks(recorder):
    with transaction.atomic(using="recorder"):
        transaction.on_commit(lambda: None, using="recorder")
        hooks = list(recorder.run_on_commit)
        recorder.drop_connection()
        assert recorder.connection is None, CHANGED + "DatabaseWrapper._close"
        assert recorder.run_on_commit == hooks, CHANGED + "DatabaseWrapper._close"
        recorder.run_on_commit.clear()
        recorder.connect()


def test_a_query_set_is_compiled_with_its_columns(db):
    compiled = compile_select(Tag.objects.filter(name="a'b").values_list("name", "id"), "default")
    assert [column.target.name for column in compiled.columns] == ["name", "id"], (
        CHANGED + "SQLCompiler.select"
    )
    sql = write_literals(compiled.sql, compiled.params, connection)
    assert sql.endswith("\"name\" = 'a''b' ORDER BY 1 ASC") or "'a''b'" in sql, (
        CHANGED + "DatabaseOperations.compose_sql"
    )
    assert all(converters_of(column, connection) == [] for column in compiled.columns), (
        CHANGED + "get_db_converters"
    )


def test_a_query_set_that_matches_nothing_has_no_sql(db):
    compiled = compile_select(Tag.objects.filter(pk__in=[]).values_list("id"), "default")
    assert compiled.sql == "", CHANGED + "EmptyResultSet"


def test_a_wrapped_query_set_keeps_its_order_and_its_wrapper(db):
    Tag.objects.bulk_create([Tag(name=name) for name in ("a", "b")])
    seen = []

    def wrap(inner):
        seen.append(inner)
        return f"SELECT * FROM ({inner.sql}) AS t ORDER BY 1 DESC", inner.params  # noqa: S608

    wrapped = wrap_select(Tag.objects.order_by(F("name").desc(nulls_last=True), "?"), wrap)
    assert list(wrapped.values_list("name", flat=True)) == ["b", "a"], CHANGED + "Query.chain"
    (inner,) = seen
    named, random = inner.order
    assert (named.column, named.descending, named.nulls_last) == (0, True, True), (
        CHANGED + "SQLCompiler.get_order_by"
    )
    assert random.column is None
    assert inner.column_count >= 1, CHANGED + "SQLCompiler.get_extra_select"


def test_prefetches_are_visible(db):
    with pytest.raises(ValueError, match="prefetch_related"):
        wrap_select(Note.objects.prefetch_related("tags"), lambda inner: (inner.sql, inner.params))
