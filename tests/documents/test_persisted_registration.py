"""A document is registered after a good answer, and within the bytes that there are for it."""

import hashlib
import random
from dataclasses import replace

import pytest
from django_redis import get_redis_connection

from pcf.cache.redis_gateway import redis_gateway
from pcf.conf.sections import PersistedSettings
from pcf.documents.persisted import PersistedStore
from tests.conftest import token_for

NEWER = {"Accept": "application/graphql-response+json"}


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def apq(text):
    return {"persistedQuery": {"version": 1, "sha256Hash": sha256(text)}}


def registered():
    """Return the digests of all documents in Redis, with the bytes of their texts."""
    client = get_redis_connection("default")
    prefix = f"{redis_prefix()}:p:"
    names = [name.decode() for name in client.scan_iter(match=f"{prefix}*", count=10_000)]
    return {name.removeprefix(prefix): client.strlen(name) for name in names}


def redis_prefix():
    from django.conf import settings

    return settings.PCF.cache.prefix


def total():
    return int(get_redis_connection("default").get(f"{redis_prefix()}:p#") or 0)


BAD = {
    "a bad token": ("{ me { id } } # 1", {"token": "guess"}),
    "no scope": ("mutation { __typename } # 2", {"token": "of a reader"}),
    "wrong variables": ("query ($n: Int!) { users(first: $n) { id } }", {"variables": {"n": "x"}}),
    "a field's error": ("{ users(first: 1000) { id } }", {}),
    "no document": ("{ nope }", {}),
    "no operation": ("query A { me { id } } query B { me { id } }", {}),
}


@pytest.mark.parametrize("reason", BAD)
def test_a_document_without_a_good_answer_is_not_registered(world, ask, reason):
    text, given = BAD[reason]
    if given.get("token") == "of a reader":
        given = {"token": token_for(world.ann, "read")}
    assert ask(text, extensions=apq(text), **given, **NEWER).status != 200
    assert registered() == {}
    assert total() == 0


@pytest.mark.parametrize("text", ["{ users { id } }", "mutation { __typename }", "{ tags { id } }"])
def test_a_document_with_a_good_answer_is_registered(world, ask, text):
    for _ in range(2):
        assert ask(text, extensions=apq(text)).data
    assert registered() == {sha256(text): len(text)}
    assert total() == len(text)


def test_a_hit_registers_as_well(live_world, ask):
    text = "{ tags { name } } # a hit"
    assert ask(text).data
    assert registered() == {}
    assert ask(text, extensions=apq(text), **NEWER).cache_status == "pcf; hit"
    assert set(registered()) == {sha256(text)}


def put(number, size=1_000, client="a1"):
    text = f"{number:08d}".ljust(size, "#")
    PersistedStore(redis_gateway()).put(sha256(text), text, client)
    return sha256(text)


@pytest.fixture
def limited(settings):
    def limit(**limits):
        settings.PCF = replace(settings.PCF, persisted=PersistedSettings(**limits))

    return limit


def test_all_documents_together_have_so_many_bytes(limited):
    limited(max_bytes=10_500)
    digests = [put(number) for number in range(25)]
    assert set(registered()) == set(digests[-10:])  # the last used stay
    assert total() == 10_000
    assert PersistedStore(redis_gateway()).get(digests[15]) is not None  # used again
    put(99)
    assert digests[15] in registered()
    assert digests[16] not in registered()


def test_a_client_registers_so_many_bytes(limited):
    limited(max_client_bytes=3_500)
    first = [put(number) for number in range(10)]
    assert set(registered()) == set(first[:3])
    put(0)  # what is known costs nothing
    other = put(50, client="a2")
    assert set(registered()) == {*first[:3], other}


def test_documents_that_expired_are_not_counted(limited):
    limited(ttl=1, max_client_bytes=10**9)
    client = get_redis_connection("default")
    index = f"{redis_prefix()}:p"
    old = put(1)
    client.persist(index)
    client.persist(f"{index}#")
    client.zadd(index, {f"{old}:1000": 1_000})  # last used in 1970
    limited(ttl=60)
    put(2)
    assert total() == 1_000
    assert old not in registered()


def test_the_bytes_are_counted_exactly(limited):
    """Whatever is put, read and dropped, the count is the sum of the texts."""
    limited(max_bytes=20_000, max_documents=12, max_client_bytes=10**9)
    chance = random.Random(7)
    for _ in range(200):
        digest = put(chance.randrange(40), chance.choice([50, 500, 5_000]))
        if chance.random() < 0.3:
            PersistedStore(redis_gateway()).get(digest)
        assert total() == sum(registered().values()) <= 20_000
        assert len(registered()) <= 12
