"""Pending writes, the relay's lease, the reasons that disable the cache, and the space of Redis."""

from threading import Event, Thread
from time import monotonic

import pytest

from pcf.cache.availability import (
    CacheUnavailable,
    DisabledReasons,
    PendingWrites,
    RelayLease,
    StorageSpace,
)


def test_pending_writes_are_delivered_once():
    pending, delivered = PendingWrites(), []
    pending.add()
    pending.add()
    pending.flush(lambda: delivered.append(1))
    assert (pending.count, delivered) == (0, [1])


def test_writes_stay_pending_when_the_delivery_fails():
    def fail():
        raise CacheUnavailable

    pending = PendingWrites()
    pending.add()
    with pytest.raises(CacheUnavailable):
        pending.flush(fail)
    assert pending.count == 1
    pending.flush(lambda: None)  # the failure has released the lock
    assert pending.count == 0


def test_a_write_stays_pending_that_becomes_so_during_the_delivery():
    pending = PendingWrites()
    pending.add()
    with pytest.raises(CacheUnavailable):
        pending.flush(pending.add)
    assert pending.count == 2


def test_one_thread_delivers_and_the_others_are_refused():
    pending, started, end = PendingWrites(), Event(), Event()
    pending.add()

    def deliver():
        started.set()
        assert end.wait(20)

    thread = Thread(target=pending.flush, args=[deliver])
    thread.start()
    assert started.wait(20)
    with pytest.raises(CacheUnavailable):
        pending.flush(lambda: None)
    end.set()
    thread.join(20)
    assert pending.count == 0


def test_a_lease_ends_by_itself_and_is_not_needed_without_a_relay():
    lease = RelayLease()
    assert not lease.is_over
    lease.hold(monotonic() + 60)
    assert not lease.is_over
    lease.hold(monotonic() - 1)
    assert lease.is_over
    lease.hold(None)
    assert not lease.is_over


def test_the_cache_is_disabled_while_there_is_any_reason(caplog):
    disabled = DisabledReasons()
    for subject, reason in [
        ("triggers", "no triggers"), ("triggers", "no triggers"), ("eviction", "it evicts"),
        ("triggers", None), ("triggers", None),
    ]:  # fmt: skip
        disabled.set(subject, reason)
    assert disabled.reasons == {"eviction": "it evicts"}
    assert "responses are cached again" not in caplog.messages
    disabled.set("eviction", None)
    assert disabled.reasons == {}
    assert [record.getMessage() for record in caplog.records] == [
        "responses are not cached: no triggers",
        "responses are not cached: it evicts",
        "responses are cached again",
    ]


def test_the_log_has_each_change_of_the_space_once(caplog):
    space = StorageSpace()
    for exhausted in (False, True, True, False):
        space.note(exhausted=exhausted)
    assert not space.is_exhausted
    assert [record.getMessage() for record in caplog.records] == [
        "Redis is out of memory, responses are not stored",
        "Redis has memory again, responses are stored",
    ]
