"""What one process leaves behind and the watch of another finds."""

from time import monotonic

import psycopg
import pytest
from django.db import connection

from pcf.cache import outbox
from pcf.cache.gate import Gate, gate
from pcf.cache.invalidation import settle
from pcf.cache.responses import ResponseCache
from pcf.cache.watch import Watch
from pcf.viewer import ANONYMOUS
from tests.cache.test_responses import ask, depends_on, store, stored_body


@pytest.fixture
def psql(live_world):
    """A connection that knows nothing of the engine."""
    params = connection.get_connection_params()
    given = {name: params[name] for name in ("dbname", "host", "port", "user") if name in params}
    if params.get("password"):
        given["password"] = params["password"]
    with psycopg.connect(**given) as other:
        yield other


@pytest.fixture
def own_gate():
    """The gate of another process."""
    own = Gate()
    own.settle_with(settle)
    return own


@pytest.fixture
def watch(own_gate):
    watch = Watch(own_gate, marked_for=0)
    yield watch
    watch._disconnect()


@pytest.fixture
def cache(own_gate):
    return ResponseCache(own_gate)


def waiting(psql):
    psql.rollback()
    return psql.execute("SELECT count(*) FROM pcf_touch").fetchone()[0]


def test_a_write_of_psql_is_delivered_at_the_next_look(live_world, psql, watch, cache, grown):
    tag = live_world.red.pk
    store(cache, ask(cache, None, "d"), ANONYMOUS, "d", b"old", depends_on(f"tag:{tag}"))
    store(cache, ask(cache, None, "e"), ANONYMOUS, "e", b"other", depends_on("tag:0"))
    psql.execute("UPDATE tags_tag SET name = 'crimson' WHERE id = %s", [tag])
    watch.look()
    assert stored_body(cache, "d") == b"old"  # nothing was committed yet
    psql.commit()
    grown()
    watch.look()
    told = grown()
    assert (told["recovered outbox"], told["invalidations tag"]) == (1, 1)
    assert stored_body(cache, "d") is None
    assert stored_body(cache, "e") == b"other"
    assert waiting(psql) == 0


def test_a_process_whose_watch_is_stuck_serves_nothing(live_world, own_gate, watch, cache):
    watch.look()
    assert ask(cache, None, "d") is not None
    own_gate.hold_lease(monotonic() - 1)
    assert ask(cache, None, "d") is None
    assert own_gate.trouble() == "the watch is late"
    watch.look()
    assert ask(cache, None, "d") is not None


def commit_without_clearing(psql, cache, tag):
    """What a writer does that is killed between COMMIT and the clearing of its marks."""
    psql.execute("UPDATE tags_tag SET name = name || '!' WHERE id = %s", [tag])
    taken = outbox.take(psql)
    gate().mark(taken.transaction, taken.names)
    return taken.transaction


def test_marks_hold_until_the_transaction_is_over(live_world, psql, watch, cache, own_gate):
    tag = live_world.red.pk
    store(cache, ask(cache, None, "d"), ANONYMOUS, "d", b"old", depends_on(f"tag:{tag}"))
    commit_without_clearing(psql, cache, tag)
    assert stored_body(cache, "d") is None
    watch.look()  # the transaction is in progress: its marks stay
    lookup = ask(cache, None, "d")
    assert not store(cache, lookup, ANONYMOUS, "d", b"old", depends_on(f"tag:{tag}"))
    psql.commit()
    lookup = ask(cache, None, "d")
    assert not store(cache, lookup, ANONYMOUS, "d", b"new", depends_on(f"tag:{tag}"))
    watch.look()
    assert own_gate.marked(0) == []
    # a reader that began while the marks stood may have read before the commit
    assert not store(cache, lookup, ANONYMOUS, "d", b"old", depends_on(f"tag:{tag}"))
    lookup = ask(cache, None, "d")
    assert store(cache, lookup, ANONYMOUS, "d", b"new", depends_on(f"tag:{tag}"))


def test_marks_of_a_writer_that_was_cut_off_before_its_commit(
    live_world, psql, watch, cache, grown
):
    tag = live_world.red.pk
    commit_without_clearing(psql, cache, tag)
    psql.rollback()
    grown()
    watch.look()
    assert grown() == {"recovered mark": 1}
    lookup = ask(cache, None, "d")
    assert store(cache, lookup, ANONYMOUS, "d", b"same", depends_on(f"tag:{tag}"))


def test_marks_of_two_writers_hold_until_both_are_through(live_world, cache):
    names = ["tag:1"]
    gate().mark("1", names)
    gate().mark("2", names)
    assert gate().clear("1")
    lookup = ask(cache, None, "d")
    assert not store(cache, lookup, ANONYMOUS, "d", b"x", depends_on("tag:1"))
    assert gate().clear("2")
    assert not gate().clear("2")
    assert not store(cache, lookup, ANONYMOUS, "d", b"x", depends_on("tag:1"))
    assert store(cache, ask(cache, None, "d"), ANONYMOUS, "d", b"x", depends_on("tag:1"))


def test_marks_of_a_transaction_that_the_server_does_not_know(live_world, watch, own_gate):
    gate().mark("999999999999", ["tag:1"])
    watch.look()
    assert own_gate.marked(0) == []


def test_an_outbox_that_grows_is_shrunk_to_kinds(live_world, psql):
    psql.execute("DELETE FROM pcf_touch")  # what Redis did not take of tests before this one
    for number in range(1_001):
        outbox.put(psql, [f"tag:{number}", "tags:"])
    psql.commit()
    psql.autocommit = True
    rows, names = outbox.seen(psql)
    assert (len(rows), sorted(names)) == (1, ["tag!", "tags!"])
    outbox.forget(psql, rows)
    assert outbox.seen(psql) == ([], [])


def test_without_its_triggers_a_process_caches_nothing(live_world, watch, cache, own_gate):
    with connection.cursor() as cursor:
        cursor.execute("ALTER FUNCTION pcf_touch_tags_tag() RENAME TO another")
    try:
        watch.look()
        assert ask(cache, None, "d") is None
        assert own_gate.trouble() == "run migrate: no triggers on tags_tag"
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER FUNCTION another() RENAME TO pcf_touch_tags_tag")
    watch._examine()
    assert ask(cache, None, "d") is not None


def test_the_thread_begins_and_ends(live_world, own_gate, cache, settings):
    watch = Watch(own_gate)
    watch.start()
    while own_gate._lease is None:
        pass
    watch.stop()
    assert own_gate._lease is None
    assert not watch._thread.is_alive()


def test_with_postgresql_away_hits_are_served(live_world, own_gate, cache, monkeypatch):
    store(cache, ask(cache, None, "d"), ANONYMOUS, "d", b"x", depends_on("tag:1"))
    watch = Watch(own_gate)
    watch.look()
    watch._connection.close()
    monkeypatch.setitem(connection.settings_dict, "PORT", 1)
    watch.look()
    watch.look()
    assert stored_body(cache, "d") == b"x"
