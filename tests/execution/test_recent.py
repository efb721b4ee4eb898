"""A bounded memory: what was used lately is known, and never more than was allowed."""

from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st

from pcf.execution.recent import Recent


def test_what_is_used_again_and_again_is_kept():
    recent = Recent(10)
    recent.add("often", 1)
    for number in range(100):
        recent.add(number, number)
        assert recent.find("often") == 1
    assert recent.find(0) is None


def test_a_value_is_made_once():
    made = []

    def make():
        made.append(1)
        return "value"

    recent = Recent(10)
    assert [recent.get("key", make) for _ in range(3)] == ["value"] * 3
    assert made == [1]


@given(st.integers(2, 12), st.lists(st.tuples(st.booleans(), st.integers(0, 20)), max_size=80))
def test_the_half_that_was_used_last_is_known_and_no_more_than_the_whole(size, uses):
    recent, lately = Recent(size), OrderedDict()
    for adds, key in uses:
        if adds:
            recent.add(key, str(key))
            lately[key] = str(key)
            lately.move_to_end(key)
        elif recent.find(key) is not None and key in lately:
            lately.move_to_end(key)
        assert len(recent) <= size
        for known in list(lately)[-(size // 2) :]:
            assert (recent._young.get(known) or recent._old.get(known)) == str(known)


def test_a_memory_for_one_forgets_too():
    recent = Recent(1)
    for number in range(10):
        recent.add(number, number)
    assert (recent.find(9), recent.find(7), len(recent)) == (9, None, 2)
