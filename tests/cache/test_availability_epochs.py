"""Nothing is stored before all blocks that Redis may have lost are past their COMMIT."""

from contextlib import contextmanager
from threading import Thread

import pytest
from django.db import connections, transaction

from pcf.cache.redis_gateway import redis_gateway
from pcf.cache.response_cache import CachedResponses
from tests.cache.responses import ANN, depends_on, look_up, store, stored_body
from tests.conftest import make_note, make_user

NOTE = depends_on("note:7")


@pytest.fixture
def cache(redis_server, monkeypatch):
    """A cache in an empty Redis, whose epochs begin without a pause between attempts."""
    monkeypatch.setattr("pcf.cache.availability.RETRY_AFTER", 0.0)
    redis_gateway().epochs._nonce = None
    yield CachedResponses(redis_gateway())
    redis_gateway().epochs._nonce = None
    redis_gateway().epochs.writers = set()


def put(cache, lookup):
    return store(cache, lookup, ANN, "digest", b"{}", NOTE)


@pytest.mark.parametrize("writes", [True, False])
def test_a_reader_from_before_the_loss_cannot_store(cache, redis_server, writes):
    """FLUSHALL leaves the server with the same run_id."""
    before = look_up(cache, None, "digest")
    if writes:
        redis_gateway().invalidate(NOTE)
    redis_server.client().flushall()
    assert not put(cache, before), "no epoch has begun"
    after = look_up(cache, None, "digest")
    assert not put(cache, before)
    assert put(cache, after)
    assert not put(cache, before)


def test_a_write_after_the_loss_does_not_begin_an_epoch(cache, redis_server):
    before = look_up(cache, None, "digest")
    redis_server.client().flushall()
    redis_gateway().invalidate(depends_on("note:8"))
    assert not put(cache, before)


@contextmanager
def writing():
    """A transaction in another session that has written, and has not ended."""
    with connections["default"].connect_outside_pool() as other:
        other.execute("BEGIN")
        other.execute("SELECT pg_current_xact_id()")
        yield other


@pytest.fixture
def writer(cache):
    """The transaction of a writer, which began in an epoch of Redis."""
    assert look_up(cache) is not None
    with writing() as connection:
        yield connection


def restart(redis_server):
    redis_server.kill()
    redis_server.start()


def restart_with_data(redis_server):
    redis_server.save()
    restart(redis_server)


@pytest.mark.parametrize(
    "lose",
    [lambda server: server.client().flushall(), restart, restart_with_data],
    ids=["flushall", "restart", "restart_with_data"],
)
def test_readers_wait_for_writers_whose_blocks_are_lost(cache, redis_server, writer, lose):
    """The COMMIT of the writer hangs, so what a reader reads now is about to be overwritten."""
    lose(redis_server)
    for _ in range(3):
        assert look_up(cache, None, "digest") is None
    assert "Redis has lost its data" in redis_gateway().problem()
    writer.execute("COMMIT")
    assert put(cache, look_up(cache, None, "digest"))
    assert redis_gateway().problem() is None


def test_later_writers_are_not_waited_for(cache, redis_server, writer):
    redis_server.client().flushall()
    assert look_up(cache) is None
    with writing():
        writer.execute("ROLLBACK")
        assert look_up(cache) is not None


def test_a_second_loss_while_an_epoch_begins_is_noticed(cache, redis_server, writer):
    redis_server.client().flushall()
    assert look_up(cache) is None  # waits for the writer
    with writing() as later:
        redis_server.client().flushall()  # it takes the block of the later writer
        writer.execute("ROLLBACK")
        assert look_up(cache) is None
        assert look_up(cache) is None
        later.execute("COMMIT")
        assert look_up(cache) is not None


@pytest.mark.django_db(transaction=True)
def test_a_commit_that_hangs_while_redis_loses_its_data(cache, redis_server, monkeypatch):
    """A whole write: the reader in the middle stores nothing, and the next one reads the write."""
    user = make_user("ann")
    note = make_note(user, "old")
    digest, kind = "digest", depends_on(f"note:{note.pk}")
    seen = []

    def read():
        lookup = look_up(cache, None, digest)
        title = type(note).objects.get(pk=note.pk).title
        seen.append((title, lookup and store(cache, lookup, ANN, digest, title.encode(), kind)))
        connections.close_all()

    def in_a_thread():
        thread = Thread(target=read)
        thread.start()
        thread.join()

    block = type(redis_gateway()).block

    def block_and_lose(self, *arguments):
        removed = block(self, *arguments)
        redis_server.client().flushall()
        in_a_thread()  # the transaction is not committed
        return removed

    monkeypatch.setattr(type(redis_gateway()), "block", block_and_lose)
    with transaction.atomic():
        type(note).objects.filter(pk=note.pk).update(title="new")
    in_a_thread()
    assert seen == [("old", None), ("new", True)]
    assert stored_body(cache, digest) in {None, b"new"}


def test_the_first_request_on_an_empty_redis_is_stored(cache):
    assert put(cache, look_up(cache, None, "digest"))
