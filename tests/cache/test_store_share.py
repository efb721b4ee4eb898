"""Stored responses to one client take a share of Redis's memory, whatever the client asks."""

from dataclasses import replace
from itertools import count

import pytest

from pcf.cache.entries import Content
from pcf.cache.keys import entry_name
from pcf.cache.redis_gateway import RedisGateway
from pcf.cache.response_cache import CachedResponses
from pcf.conf.sections import RateSettings
from pcf.execution.dependencies import Dependencies
from pcf.http.rate_limits import RateLimiter
from pcf.viewer import ANONYMOUS, Viewer
from tests.cache.responses import look_up

MEMORY = 100_000_000  # bytes, beside what Redis has at its start
TTL = 300_000  # seconds: hardly any of the share comes back while a test runs
ANN, BOB = Viewer(1), Viewer(2)
HERE = "192.0.2.1"
_numbers = count(1)


@pytest.fixture
def server(redis_server, settings):
    set_prefix(settings, "pcf")
    with redis_server.client() as client:
        client.config_set("maxmemory", MEMORY)
    set_rates(settings)
    return redis_server


def set_prefix(settings, prefix):
    cache = replace(settings.PCF.cache, prefix=prefix, default_ttl=TTL)
    settings.PCF = replace(settings.PCF, cache=cache)


def set_rates(settings, **rates):
    documents = replace(settings.PCF.documents, max_cost=1)
    rates = RateSettings(enabled=True, **rates)
    settings.PCF = replace(settings.PCF, documents=documents, rates=rates)


class Process:
    """One process of the service."""

    def __init__(self, server):
        gateway = RedisGateway(server.alias)
        self.cache = CachedResponses(gateway)
        self.rates = RateLimiter(gateway)

    def store(self, viewer, body, *, names=(), age=TTL, points=0):
        """Store a response under a new name; return whether Redis has it."""
        digest = f"{next(_numbers):032d}"
        dependencies = Dependencies()
        for kind, keys in names:
            dependencies.add(kind, keys)
        cost = self.rates.store_cost(viewer, HERE, points)
        content = Content.of(body, 1_400)
        name = entry_name(viewer, digest, shared=False)
        lookup = look_up(self.cache, None, digest)
        return self.cache.store(lookup, name, content, age, dependencies, cost=cost)


@pytest.fixture
def process(server):
    return Process(server)


def used(server):
    with server.client() as client:
        return client.info("memory")["used_memory"]


def many_keys(number):
    return [("note", range(400 * number, 400 * number + 400))]


SHAPES = {
    "large": (b"x" * 1_400_000, lambda _: ()),
    "compressible": (b'{"a":' + b"1" * 100_000 + b"}", lambda _: ()),
    "small": (b"{}", lambda _: ()),
    "a key each": (b"{}", lambda number: [("note", (number,))]),
    "many new keys": (b"{}", many_keys),
    "many known keys": (b"{}", lambda _: many_keys(0)),
}


@pytest.mark.parametrize("prefix", ["pcf", "a-prefix-that-is-much-longer-than-it-has-to-be"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_client_takes_no_more_than_its_share(server, process, settings, shape, prefix):
    """The share is 5 %. A bucket holds half of it; the rest comes back within a lifetime."""
    set_prefix(settings, prefix)
    body, names = SHAPES[shape]
    before = used(server)
    stored = 0
    while process.store(ANN, body, names=names(stored)):
        stored += 1
        assert stored < 20_000
    taken = used(server) - before
    # Redis keeps the buffers of the last commands for a while.
    assert 0 < taken <= MEMORY * 0.05 / 2 + 3 * len(body)
    assert stored > 0
    assert not process.store(ANN, body, names=names(stored))
    assert process.store(BOB, body, names=names(stored))  # another client has its own
    assert process.store(ANONYMOUS, body, names=names(stored))


def test_all_processes_count_together(server, process):
    other, body = Process(server), b"x" * 900_000
    stored = [each.store(ANN, body) for _ in range(2) for each in (process, other)]
    assert stored == [True, True, False, False]


def test_an_entry_that_lives_longer_takes_more(server, process):
    body = b"x" * 190_000
    assert [process.store(ANN, body, age=10 * TTL) for _ in range(2)] == [True, False]
    assert [process.store(BOB, body) for _ in range(11)] == [True] * 10 + [False]


def test_the_share_can_be_all_of_it(server, process, settings):
    set_rates(settings, store_share=1.0)
    assert all(process.store(ANN, b"x" * 1_000_000) for _ in range(20))


def test_without_rate_limits_nothing_is_counted(server, process, settings):
    settings.PCF = replace(settings.PCF, rates=RateSettings(enabled=False))
    assert all(process.store(ANN, b"x" * 1_000_000) for _ in range(20))


def test_without_maxmemory_the_memory_of_the_machine_is_shared(redis_server, settings):
    set_rates(settings)
    process = Process(redis_server)
    with redis_server.client() as client:
        machine = client.info("memory")["total_system_memory"]
    assert process.rates.store_cost(ANN, HERE, 0).share == int(machine * 0.05 / 2)


def test_a_refused_store_is_counted_and_ends_its_flight(server, process, settings, grown):
    set_rates(settings, store_share=1e-6)
    first = look_up(process.cache, None, "d", join=True)
    assert first.leads
    name = entry_name(ANONYMOUS, "d", shared=False)
    cost = process.rates.store_cost(ANONYMOUS, HERE, 0)
    content = Content.of(b"x" * 1_000)
    assert not process.cache.store(first, name, content, TTL, Dependencies(), cost=cost)
    assert grown()["refused_stores share"] == 1.0
    assert look_up(process.cache, None, "d", join=True).leads  # nobody waits for the first


def test_stored_bytes_cost_points(server, process, settings):
    """A response that is larger than its estimate takes points, as many as there are."""
    set_rates(settings, viewer_points=0.001, viewer_burst=10)
    assert process.store(ANN, b"x", points=7)
    process.rates.charge(ANN, HERE, 3)
    with pytest.raises(Exception, match="Too much"):
        process.rates.charge(ANN, HERE, 1)
    assert process.store(BOB, b"x", points=100)
    with pytest.raises(Exception, match="Too much"):
        process.rates.charge(BOB, HERE, 1)
