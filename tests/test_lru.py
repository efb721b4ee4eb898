"""The LRU cache keeps the entries that were used last, and never more than its size."""

from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st

from pcf.lru import LRUCache


def test_a_key_in_constant_use_is_kept():
    cache = LRUCache(10)
    cache.set("often", 1)
    for number in range(100):
        cache.set(number, number)
        assert cache.get("often") == 1
    assert cache.get(0) is None


def test_get_or_set_makes_a_value_once():
    made = []

    def make():
        made.append(1)
        return "value"

    cache = LRUCache(10)
    assert [cache.get_or_set("key", make) for _ in range(3)] == ["value"] * 3
    assert made == [1]


@given(st.integers(2, 12), st.lists(st.tuples(st.booleans(), st.integers(0, 20)), max_size=80))
def test_the_half_that_was_used_last_is_kept_and_no_more_than_the_size(size, uses):
    cache, by_age = LRUCache(size), OrderedDict()
    for is_write, key in uses:
        if is_write:
            cache.set(key, str(key))
            by_age[key] = str(key)
            by_age.move_to_end(key)
        elif cache.get(key) is not None and key in by_age:
            by_age.move_to_end(key)
        assert len(cache) <= size
        for known in list(by_age)[-(size // 2) :]:
            assert (cache._young.get(known) or cache._old.get(known)) == str(known)


def test_a_cache_of_size_one_evicts_too():
    cache = LRUCache(1)
    for number in range(10):
        cache.set(number, number)
    assert (cache.get(9), cache.get(7), len(cache)) == (9, None, 2)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 12)), max_size=60))
def test_weights_are_bounded(writes):
    cache = LRUCache(20, int)
    for key, weight in writes:
        cache.set(key, weight)
        assert cache.get(key) == (weight if weight <= 10 else None)
        assert sum(cache._young.values()) == cache._young_weight <= 10
        assert sum(cache._old.values()) <= 10
