"""Reads from a streaming replica: which queries read from it, and when the primary takes over."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.chaos.servers import wait_for

NO_STORE = {"Cache-Control": "no-store"}


def title(stack, key, viewer=None, **headers):
    return stack.ask(f'{{ note(id: "{key}") {{ title }} }}', viewer, **headers)


def rename(stack, key, text):
    values = f'id: "{key}", title: "{text}"'
    changed = stack.ask(
        f"mutation {{ updateNote(input: {{{values}}})"
        " { note { title } userErrors { code } } }",
        key,
    )
    assert changed.data["updateNote"] == {"note": {"title": text}, "userErrors": []}


def shown(reply):
    return reply.data["note"]["title"]


@pytest.fixture
def behind(stack):
    """Stop the replica's replay. The result continues the replay and waits for its end."""
    stack.wait_until_replica_is_read()
    stack.replica.execute("SELECT pg_wal_replay_pause()")

    def catch_up():
        stack.replica.execute("SELECT pg_wal_replay_resume()")
        position = stack.primary.position()
        wait_for("the replica to catch up", lambda: stack.replica.position() >= position)

    yield catch_up
    catch_up()


def test_queries_read_from_the_replica_and_mutations_do_not(stack):
    stack.wait_until_replica_is_read()
    rename(stack, 1, "mutated")  # a replica refuses writes
    assert stack.replica.execute(
        "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'pcf'"
    ) == [(True,)]


def test_a_viewer_reads_what_it_has_written_in_every_worker(stack, behind):
    before = shown(title(stack, 1, viewer=2, **NO_STORE))
    rename(stack, 1, "read your writes")
    for _ in range(12):
        assert shown(title(stack, 1, viewer=1, **NO_STORE)) == "read your writes"
    # another viewer reads from the replica, which has not replayed it
    assert shown(title(stack, 1, viewer=2, **NO_STORE)) == before
    behind()
    stack.wait_until_replica_is_read()
    reads = stack.replica_reads()
    for _ in range(12):
        assert shown(title(stack, 1, viewer=1, **NO_STORE)) == "read your writes"
    assert stack.replica_reads() == reads + 12


def test_what_lacks_a_write_is_not_stored_and_what_does_not_is(stack, behind):
    rename(stack, 1, "fenced")
    old = title(stack, 1, viewer=2)
    assert shown(old) != "fenced"
    assert old.cache_status == "pcf; fwd=miss"
    other = [title(stack, 2, viewer=2) for _ in range(2)]
    assert [shown(it) for it in other] == ["before"] * 2
    assert other[1].cache_status == "pcf; hit"
    behind()
    new = title(stack, 1, viewer=2)
    assert (shown(new), new.cache_status) == ("fenced", "pcf; fwd=miss; stored")


def test_a_replica_that_lags_is_left_out(stack, behind):
    rename(stack, 1, "lagging")
    lost = "db_replica_in_use"
    stack.primary.execute("SELECT pg_logical_emit_message(false, 'pcf', repeat('x', 2000000))")
    wait_for("the lag is noticed", lambda: stack.metric(lost, replica="replica-1") == 0)

    def no_worker_reads_from_it():  # every worker detects the lag itself
        return all(shown(title(stack, 1, 2, **NO_STORE)) == "lagging" for _ in range(8))

    wait_for("no worker reads from it", no_worker_reads_from_it)
    reads = stack.replica_reads()
    for _ in range(8):
        assert shown(title(stack, 1, viewer=2, **NO_STORE)) == "lagging"
    assert stack.replica_reads() == reads
    behind()
    stack.wait_until_replica_is_read()


def ask_many(stack, count=40):
    """Send ``count`` requests at the same time; return the titles in the answers."""
    with ThreadPoolExecutor(8) as pool:
        return {
            shown(it)
            for it in pool.map(lambda _: title(stack, 2, viewer=2, **NO_STORE), range(count))
        }


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_replica_that_dies_costs_no_request(stack, how):
    stack.wait_until_replica_is_read()
    with ThreadPoolExecutor(1) as pool:
        answers = pool.submit(ask_many, stack, 80)
        getattr(stack.replica, how)()
        assert answers.result() == {"before"}
    assert ask_many(stack) == {"before"}
    stack.replica.start()
    stack.wait_until_replica_is_read()


def test_a_frozen_replica_is_left_inside_the_request(stack):
    stack.wait_until_replica_is_read()
    stack.replica.freeze()
    try:
        assert ask_many(stack) == {"before"}
    finally:
        stack.replica.thaw()
    stack.wait_until_replica_is_read()


def test_a_replica_that_was_promoted_is_left_out(stack):
    stack.wait_until_replica_is_read()
    stack.replica.promote()
    try:
        rename(stack, 2, "after the promotion")
        for _ in range(8):
            assert shown(title(stack, 2, viewer=2, **NO_STORE)) == "after the promotion"
        wait_for(
            "it is left out", lambda: stack.metric("db_replica_in_use", replica="replica-1") == 0
        )
        reads = stack.replica_reads()
        assert shown(title(stack, 2, viewer=1, **NO_STORE)) == "after the promotion"
        assert stack.replica_reads() == reads
    finally:  # the replica has to be created again
        port = stack.replica.port
        stack.replica.close()
        stack.replica.replicate(stack.primary)
        assert stack.replica.port == port
        stack.replica.start()
        rename(stack, 2, "before")
    stack.wait_until_replica_is_read()
