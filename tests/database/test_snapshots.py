"""All SELECTs of a block read one snapshot; what ends it early; what makes the caller repeat."""

from threading import Thread

import pytest
from django.db import DataError, connections, transaction

from pcf.database.planned_reads import pipelined
from pcf.database.prepared_statements import ReadStatement
from pcf.database.retry import idempotent_reads
from pcf.database.snapshots import LATE_STATEMENT, STATEMENT_FAILED, one_snapshot
from pcf.errors import ConnectionLost
from pcf.timeouts import DeadlineExceeded, TimeoutContext, activate, carried
from tests.database.test_connection_pooler import pooled

__all__ = ["pooled"]

COUNT = ReadStatement(
    "SELECT count(*), current_setting('transaction_isolation') FROM snapshot_rows"
    " WHERE id > %s::int",
    b"SELECT count(*), current_setting('transaction_isolation') FROM snapshot_rows"
    b" WHERE id > $1::int",
)
SUM = ReadStatement(
    "SELECT sum(id) FROM snapshot_rows WHERE id > %s::int",
    b"SELECT sum(id) FROM snapshot_rows WHERE id > $1::int",
)
DIVIDE = ReadStatement("SELECT 1 / %s::int", b"SELECT 1 / $1::int")
SLEEP = ReadStatement("SELECT pg_sleep(%s::float)::text", b"SELECT pg_sleep($1::float)::text")
ONE, TWO = "repeatable read", "read committed"


@pytest.fixture
def rows(other):
    """``rows()`` adds a row to the table, which has three."""
    other.execute("DROP TABLE IF EXISTS snapshot_rows")
    other.execute("CREATE TABLE snapshot_rows (id serial)")
    other.execute("INSERT INTO snapshot_rows SELECT FROM generate_series(1, 3)")
    yield lambda: other.execute("INSERT INTO snapshot_rows DEFAULT VALUES")
    other.execute("DROP TABLE snapshot_rows")


@pytest.fixture(params=["prepared", "text", "careful", "shared"])
def how(request):
    """How the statements travel."""
    return request.param


@pytest.fixture
def db(how, make_wrapper, rows, configure, request):
    """A wrapper that has prepared the statements, where they are prepared."""
    if how == "shared":
        db = request.getfixturevalue("pooled")()[0]
    else:
        configure("database", prepared_statements=0 if how == "text" else 100)
        db = make_wrapper()
    with activate(TimeoutContext.start("http", 30.0)), idempotent_reads():
        for read, value in ((COUNT, 0), (SUM, 0), (DIVIDE, 1), (SLEEP, 0)) * 2:
            db.rows(read, [value])
        yield db
    assert db.connection is None or db.connection.info.transaction_status.name == "IDLE"


def block(how):
    return one_snapshot(careful=how == "careful")


def count(db):
    return db.rows(COUNT, [0])[0]


def test_the_statements_of_a_block_see_one_moment(db, rows, how):
    with block(how) as snapshot:
        first = count(db)
        rows()
        with db.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM snapshot_rows")
            by_text = cursor.fetchone()
        assert (first, by_text, db.rows(SUM, [0]), count(db)) == ((3, ONE), (3,), [(6,)], (3, ONE))
    assert snapshot.lost is None
    assert count(db) == (4, TWO)
    with block(how):
        assert count(db)[0] == 4


@pytest.mark.parametrize("how", ["prepared"], indirect=True)
def test_the_last_statement_ends_the_transaction_in_its_own_message(db, how):
    status = db.connection.info
    with block(how) as snapshot:
        count(db)
        assert status.transaction_status.name == "INTRANS"
        snapshot.is_last = True
        assert db.rows(SUM, [0]) == [(6,)]
        assert status.transaction_status.name == "IDLE"
    assert snapshot.lost is None
    with block(how) as snapshot:
        snapshot.is_last = True
        assert count(db) == (3, TWO)  # the only statement needs no transaction
    assert snapshot.lost is None


@pytest.mark.parametrize("last", [False, True])
def test_the_statements_of_a_level_travel_together(db, rows, how, last):
    with block(how) as snapshot:
        snapshot.is_last = last
        asked = [(COUNT, [0]), (SUM, [0])]
        db.send_pipeline(asked)
        rows()
        answers = [db.rows(*each) for each in asked]
        assert answers[1] == [(6 if answers[0] == [(3, ONE)] else 10,)]
        assert answers[0][0][1] == ONE
    assert snapshot.lost is None


def test_a_statement_after_the_last_one_loses_the_snapshot(db, how):
    with block(how) as snapshot:
        snapshot.is_last = True
        count(db)
        snapshot.is_last = False
        count(db)
    assert snapshot.lost == (LATE_STATEMENT if how == "prepared" else None)


def test_an_error_of_a_statement_loses_the_snapshot_unless_it_is_careful(db, rows, how):
    with block(how) as snapshot:
        count(db)
        rows()
        with pytest.raises(DataError):
            db.rows(DIVIDE, [0])
        with pytest.raises(DataError), db.cursor() as cursor:
            cursor.execute("SELECT 1 / 0")
        found = count(db)[0]
    # the text of a statement has a savepoint in its own message
    assert snapshot.lost == (STATEMENT_FAILED if how == "prepared" else None)
    assert found == (4 if how == "prepared" else 3)


def test_an_error_of_the_first_statement_loses_nothing(db, rows, how):
    with block(how) as snapshot:
        with pytest.raises(DataError):
            db.rows(DIVIDE, [0])
        first = count(db)
        rows()
        assert count(db) == first == (3, ONE)
    assert snapshot.lost is None


def test_after_a_statement_past_its_limit_the_others_are_answered(db, how):
    with block(how) as snapshot:
        count(db)
        short = TimeoutContext.start("database", 0.2)
        with activate(short), pytest.raises(DeadlineExceeded):
            db.rows(SLEEP, [5])
        assert count(db)[0] == 3
    assert snapshot.lost is None, "there is no time to repeat the block"


@pytest.mark.parametrize("how", ["prepared", "text", "careful"], indirect=True)
def test_a_lost_connection_loses_the_snapshot(db, other, how):
    with block(how) as snapshot:
        pid = _pid(db)
        other.execute("SELECT pg_terminate_backend(%s, 1000)", [pid])
        with pytest.raises(ConnectionLost):
            count(db)
        assert snapshot.lost == "admin_shutdown"
        assert count(db)[0] == 3
    assert snapshot.lost == "admin_shutdown"


@pytest.mark.parametrize("how", ["prepared", "text", "careful"], indirect=True)
def test_a_connection_lost_before_the_first_statement_loses_nothing(db, other, how):
    pid = _pid(db)
    with block(how) as snapshot:
        other.execute("SELECT pg_terminate_backend(%s, 1000)", [pid])
        assert count(db) == (3, ONE)
    assert snapshot.lost is None


def test_a_transaction_of_a_resolver_reads_and_writes_the_present(db, rows, how):
    connections.settings[db.alias] = db.settings_dict
    try:
        with block(how) as snapshot:
            count(db)
            rows()
            with transaction.atomic(db.alias), db.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM snapshot_rows")
                assert cursor.fetchone() == (4,)
                cursor.execute("DELETE FROM snapshot_rows")
            assert count(db) == (0, TWO)
    finally:
        del connections.settings[db.alias]
    assert snapshot.lost is None


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO snapshot_rows DEFAULT VALUES",
        "SELECT nextval('snapshot_rows_id_seq')",  # nobody can see from the text that it writes
        "TRUNCATE snapshot_rows",
        "DO $$ BEGIN DELETE FROM snapshot_rows; END $$",
    ],
)
def test_a_statement_that_writes_is_not_refused(db, how, sql):
    with block(how) as snapshot:
        count(db)
        with db.cursor() as cursor:
            cursor.execute(sql)
        assert count(db)[1] == TWO
    assert snapshot.lost is None


def test_threads_of_the_block_have_no_part_in_it(db, how):
    statuses = []

    def run():
        with connections["default"].cursor() as cursor:
            cursor.execute("SELECT current_setting('transaction_isolation')")
            statuses.append(cursor.fetchone())
        connections.close_all()

    with block(how):
        count(db)
        thread = Thread(target=carried(run))
        thread.start()
        thread.join()
    assert statuses == [(TWO,)]


def test_a_connection_goes_back_to_the_pool_without_a_transaction(db, how):
    with block(how):
        count(db)
        db.close()
        assert count(db)[0] == 3


def test_a_limit_of_one_statement_does_not_stay_in_the_snapshot(db, how, one):
    limit = "SELECT current_setting('statement_timeout')"
    with block(how):
        with activate(TimeoutContext.start("http", 5.0)):
            assert one(db, limit) not in {("20s",), ("0",)}
        assert one(db, limit) == ("20s",)
        assert count(db)[0] == 3
    assert one(db, limit) == ("20s",)


def _pid(db):
    with db.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]


def test_planned_reads_use_pipelines_in_a_snapshot(db, how):
    """``pipelined`` sends what it can and leaves the rest."""
    with block(how) as snapshot, pipelined([]):
        assert count(db)[0] == 3
    assert snapshot.lost is None


def test_a_session_that_reads_snapshots_alone_keeps_its_limit_and_prepares(make_wrapper, rows):
    db = make_wrapper()
    for _ in range(4):
        with activate(TimeoutContext.start("database", 20.0)), one_snapshot():
            count(db)
            count(db)
    assert db.connection.session_limit == 20_000
    names = "SELECT count(*) FROM pg_prepared_statements"
    with db.cursor() as cursor:
        cursor.execute(names)
        assert cursor.fetchone()[0] > 0


def test_the_limit_of_a_session_is_sent_again_after_a_rollback(make_wrapper, rows):
    db = make_wrapper()
    with activate(TimeoutContext.start("database", 20.0)):
        with one_snapshot(), pytest.raises(DataError):
            db.rows(DIVIDE, [0])
        with db.cursor() as cursor:
            cursor.execute("SELECT current_setting('statement_timeout')")
            assert cursor.fetchone()[0] == "20s"
