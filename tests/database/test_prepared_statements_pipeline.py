"""Pipelines of prepared statements, and their failures."""

from time import monotonic, sleep

import pytest
from django.db import DataError, transaction

from pcf.database.backend.read_cursor import ReadCursor
from pcf.database.planned_reads import pipelined
from pcf.database.prepared_statements import ReadStatement
from pcf.database.query_log import count_queries
from pcf.database.retry import idempotent_reads
from pcf.errors import ConnectionLost
from pcf.timeouts import DeadlineExceeded, TimeoutContext, activate

SUM = ReadStatement("SELECT %s::int + %s::int", b"SELECT $1::int + $2::int")
DIVISION = ReadStatement("SELECT 1 / %s::int", b"SELECT 1 / $1::int")
SLEEP = ReadStatement("SELECT pg_sleep(%s::float)::text", b"SELECT pg_sleep($1::float)::text")
SERIES = ReadStatement(
    "SELECT repeat('x', 100) FROM generate_series(1, %s::int)",
    b"SELECT repeat('x', 100) FROM generate_series(1, $1::int)",
)
HARMLESS = ((SUM, [1, 2]), (DIVISION, [1]), (SLEEP, [0]), (SERIES, [1]))


@pytest.fixture
def db(proxied):
    """A wrapper behind the proxy that has prepared all of the statements."""
    with proxied.cursor() as cursor:
        cursor.execute("SELECT 1")
    prepare(proxied)
    return proxied


@pytest.fixture(autouse=True)
def _in_a_request():
    with activate(TimeoutContext.start("http", 30.0)), idempotent_reads():
        yield


def prepare(db):
    for read, parameters in HARMLESS * 2:
        db.rows(read, parameters)


def reach(proxy, action):
    """How often ``action`` waits for the server, and what it returns."""
    before, proxy.delay = proxy.turns, 0.1
    try:
        result = action()
    finally:
        proxy.delay = 0.0
    return proxy.turns - before, result


def all_rows(db, asked):
    return [db.rows(read, parameters) for read, parameters in asked]


ASKED = [(SUM, [1, 2]), (DIVISION, [1]), (SUM, [3, 4])]
FOUND = [[(3,)], [(1,)], [(7,)]]


def test_many_statements_are_one_round_trip_and_each_is_counted(db, proxy):
    assert reach(proxy, lambda: all_rows(db, ASKED)) == (3, FOUND)
    with count_queries(keep_texts=True) as log:
        assert reach(proxy, lambda: db.send_pipeline(ASKED))[0] == 1
        assert reach(proxy, lambda: all_rows(db, ASKED)) == (0, FOUND)
    assert log.statements == [read.text for read, _ in ASKED]


def test_large_results_are_complete(db):
    asked = [(SERIES, [20_000]), (SUM, [1, 2]), (SERIES, [30_000])]
    db.send_pipeline(asked)
    assert [len(rows) for rows in all_rows(db, asked)] == [20_000, 1, 30_000]


def test_results_that_are_not_read_are_discarded(db):
    db.send_pipeline(ASKED)
    assert db.rows(SUM, [5, 6]) == [(11,)]  # not [1, 2]
    db.discard_results(db.send_pipeline(ASKED))
    assert all_rows(db, ASKED) == FOUND
    assert db.rows(SUM, [5, 6]) == [(11,)]


def test_other_statements_of_the_connection_are_not_disturbed(db):
    db.send_pipeline(ASKED)
    with db.cursor() as cursor:
        cursor.execute("SELECT 'another'")
        assert cursor.fetchone() == ("another",)
    assert all_rows(db, ASKED) == FOUND


def test_a_statement_that_fails_fails_alone(db):
    asked = [(SUM, [1, 2]), (DIVISION, [0]), (SUM, [3, 4]), (DIVISION, [1])]
    for _ in range(2):
        db.send_pipeline(asked)
        assert db.rows(*asked[0]) == [(3,)]
        with pytest.raises(DataError):
            db.rows(*asked[1])
        assert all_rows(db, asked[2:]) == [[(7,)], [(1,)]]


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_cut_connection_is_replaced(db, failing):
    """The connection breaks in the first, the second or the third result."""
    asked = [(SERIES, [1_000]), (SERIES, [1_001]), (SERIES, [1_002])]
    pid = db.connection.info.backend_pid
    one = 112 * 1_000  # bytes of one result, about
    with Cut(db, failing * one + 500):
        db.send_pipeline(asked)
    assert [len(rows) for rows in all_rows(db, asked)] == [1_000, 1_001, 1_002]
    assert db.connection.info.backend_pid != pid


class Cut:
    """For the block, each connection breaks after ``size`` bytes of results."""

    def __init__(self, db, size):
        self.db, self.size = db, size

    def __enter__(self):
        self.db.proxy.cut_after(self.size)

    def __exit__(self, *_):
        self.db.proxy.cut_after(None)


@pytest.fixture(autouse=True)
def _proxy_of_db(request):
    if "db" in request.fixturenames:
        request.getfixturevalue("db").proxy = request.getfixturevalue("proxy")


def test_a_connection_cut_before_the_pipeline_is_replaced(db, proxy):
    proxy.cut()
    db.send_pipeline(ASKED)
    assert all_rows(db, ASKED) == FOUND


def test_reads_that_are_not_idempotent_are_not_retried(db, proxy):
    with idempotent_reads(False), Cut(db, 10):
        db.send_pipeline(ASKED)
        with pytest.raises(ConnectionLost):
            db.rows(*ASKED[0])


def test_each_statement_has_its_own_time(db, configure, caplog):
    """All statements together take longer than the limit of one."""
    configure("timeouts", database=0.8, min_database_budget=0.1)
    configure("database", slow_statement=0.5)
    db.close_pool()
    prepare(db)
    asked = [(SLEEP, [0.6]), (SUM, [1, 2]), (SLEEP, [0.6]), (SLEEP, [0.6])]
    with count_queries() as log:
        db.send_pipeline(asked)
        assert all_rows(db, asked) == [[("",)], [(3,)], [("",)], [("",)]]
    assert 1.8 <= log.seconds < 3
    slow = [record.fields["statement"] for record in caplog.records if "SLOW" in record.message]
    assert ["pg_sleep" in statement for statement in slow] == [True] * 3


def test_a_statement_without_time_left_is_refused(db, configure):
    configure("timeouts", database=0.8, min_database_budget=0.4)
    db.close_pool()
    prepare(db)
    asked = [(SUM, [1, 2]), (SLEEP, [0.7]), (SUM, [3, 4])]
    limit = TimeoutContext.start("http", 1.0)._replace(limit=10.0)  # a second of ten is left
    with activate(limit):
        db.send_pipeline(asked)
        assert all_rows(db, asked[:2]) == [[(3,)], [("",)]]
        with pytest.raises(DeadlineExceeded, match="Insufficient"):
            db.rows(*asked[2])
    assert db.rows(*asked[2]) == [(7,)]


def test_statements_of_a_pipeline_count_as_used(db, configure):
    """New statements replace those that the pipeline did not use."""
    configure("database", prepared_statements=len(HARMLESS))
    db.close()
    db.close_pool()
    prepare(db)
    db.send_pipeline(ASKED)  # uses SUM and DIVISION, the oldest ones
    all_rows(db, ASKED)
    for number in "12":
        new = ReadStatement(f"SELECT {number}, %s::int", f"SELECT {number}, $1::int".encode())
        db.rows(new, [1])
    assert reach(db.proxy, lambda: db.send_pipeline(ASKED))[0] == 1


def test_a_connection_goes_back_to_the_pool_without_results(db):
    reads = db.send_pipeline(ASKED)
    db.close()  # the pool may give the connection to another thread
    db.discard_results(reads)
    assert db.rows(SUM, [5, 6]) == [(11,)]
    assert not reads.has_results


def test_a_transaction_reads_the_present_rows(db):
    reads = db.send_pipeline(ASKED)
    with transaction.atomic(db.alias), count_queries() as log:
        assert all_rows(db, ASKED) == FOUND
    assert (log.count, reads.has_results) == (3, False)


def test_an_invalid_parameter_is_an_error_of_its_statement(db):
    text = ReadStatement("SELECT %s::text", b"SELECT $1::text")
    for _ in range(2):
        db.rows(text, ["x"])
    asked = [(SUM, [1, 2]), (text, ["\0"]), (SUM, [3, 4])]
    db.send_pipeline(asked)
    assert db.rows(*asked[0]) == [(3,)]
    with pytest.raises(DataError):
        db.rows(*asked[1])
    assert db.rows(*asked[2]) == [(7,)]


def test_a_broken_connection_is_not_left_to_others(db, proxy):
    with Cut(db, 10):
        db.discard_results(db.send_pipeline(ASKED))
    with db.cursor() as cursor:
        cursor.execute("SELECT 'another'")
        assert cursor.fetchone() == ("another",)


def test_the_deadline_fails_the_statement_that_exceeds_it(db, configure):
    configure("timeouts", database=0.5, min_database_budget=0.1)
    db.close_pool()
    prepare(db)
    asked = [(SUM, [1, 2]), (SLEEP, [5]), (SUM, [3, 4])]
    db.send_pipeline(asked)
    assert db.rows(*asked[0]) == [(3,)]
    with pytest.raises(DeadlineExceeded) as caught:
        db.rows(*asked[1])
    assert (caught.value.layer, caught.value.limit) == ("database", 0.5)
    assert db.rows(*asked[2]) == [(7,)]


def test_a_statement_that_begins_before_its_timer_exceeds_the_deadline(db, configure, monkeypatch):
    """The process was busy when the result before arrived; PostgreSQL went on with the next one."""
    timer_of = ReadCursor._timer_of

    def late(*given):
        sleep(0.2)
        return timer_of(*given)

    monkeypatch.setattr(ReadCursor, "_timer_of", late)
    configure("timeouts", database=0.5, min_database_budget=0.1)
    db.close_pool()
    prepare(db)
    asked = [(SUM, [1, 2]), (SLEEP, [5])]
    db.send_pipeline(asked)
    assert db.rows(*asked[0]) == [(3,)]
    with pytest.raises(DeadlineExceeded) as caught:
        db.rows(*asked[1])
    assert (caught.value.layer, caught.value.limit) == ("database", 0.5)


def test_a_pipeline_to_a_silent_server_ends(db, proxy, configure):
    configure("timeouts", database=0.5, min_database_budget=0.1)
    db.close_pool()
    prepare(db)
    proxy.freeze()
    started = monotonic()
    db.send_pipeline(ASKED)
    with pytest.raises(DeadlineExceeded):
        db.rows(*ASKED[0])
    assert monotonic() - started < 5
    assert db.connection is None


def test_without_time_nothing_is_sent(db, proxy):
    with activate(TimeoutContext.start("http", 0.0)):
        assert reach(proxy, lambda: db.send_pipeline(ASKED))[0] == 0
        with pytest.raises(DeadlineExceeded):
            db.rows(*ASKED[0])
    assert all_rows(db, ASKED) == FOUND


def test_statements_that_are_not_prepared_are_sent_one_by_one(db, proxy):
    new = ReadStatement("SELECT %s::int", b"SELECT $1::int")
    asked = [(new, [1]), (SUM, [1, 2])]
    assert reach(proxy, lambda: db.send_pipeline(asked))[0] == 0
    assert all_rows(db, asked) == [[(1,)], [(3,)]]


def test_in_a_transaction_they_are_sent_one_by_one(db, proxy):
    with transaction.atomic(db.alias):
        db.rows(*ASKED[0])
        assert reach(proxy, lambda: db.send_pipeline(ASKED))[0] == 0
        assert all_rows(db, ASKED) == FOUND


def test_a_result_type_that_changed_is_read(db, one):
    read = ReadStatement("SELECT * FROM changed", b"SELECT * FROM changed")
    one(db, "CREATE TABLE changed (n integer)")
    try:
        for _ in range(2):
            db.rows(read, [])
        one(db, "ALTER TABLE changed ADD COLUMN m integer DEFAULT 1")
        one(db, "INSERT INTO changed VALUES (7)")
        asked = [(SUM, [1, 2]), (read, []), (SUM, [3, 4])]
        db.send_pipeline(asked)
        assert all_rows(db, asked) == [[(3,)], [(7, 1)], [(7,)]]
    finally:
        one(db, "DROP TABLE changed")


class _Statement:
    """Stands for a CompiledQuery of one of the statements above."""

    def __init__(self, read):
        self.read = read

    def request(self, values):
        return None if values is None else (self.read, values)


def test_the_block_reads_the_results_and_leaves_none(db, proxy):
    planned = [(db.alias, _Statement(read), values) for read, values in ASKED]
    planned.insert(1, (db.alias, _Statement(SUM), None))  # nothing can match
    with pipelined(planned):
        assert reach(proxy, lambda: all_rows(db, ASKED[:1])) == (0, FOUND[:1])
    assert reach(proxy, lambda: all_rows(db, ASKED[1:])) == (2, FOUND[1:])
    with pytest.raises(ZeroDivisionError), pipelined(planned):
        raise ZeroDivisionError
    assert reach(proxy, lambda: all_rows(db, ASKED)) == (3, FOUND)


def test_a_single_statement_is_no_pipeline(db, proxy):
    def read():
        with pipelined([(db.alias, _Statement(SUM), [1, 2])]):
            pass

    assert reach(proxy, read)[0] == 0
