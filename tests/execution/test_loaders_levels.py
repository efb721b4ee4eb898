"""``Loader.load_level`` loads many keys at once, and uses known values."""

from dataclasses import replace

import pytest
from promise import Promise

from pcf.execution.dependencies import Dependencies
from pcf.execution.loaders import Loader
from pcf.execution.promises import promise_scope, run
from pcf.viewer import ANONYMOUS
from tests.execution.helpers import load_level


def load(loader, keys):
    """Return the values of ``keys``, in their order."""
    found = run(load_level(loader, keys))
    return [found[key] for key in keys]


class Tens(Loader):
    dependency = "number"

    def load_batch(self, keys):
        self.batches.append(list(keys))
        return {key: ValueError("13") if key == 13 else key * 10 for key in keys}


@pytest.fixture
def loader():
    made = Tens(ANONYMOUS, Dependencies(), {})
    made.batches = []
    return made


def test_a_level_is_one_batch(loader):
    with promise_scope():
        assert load(loader, [3, 1, 2]) == [30, 10, 20]
    assert loader.batches == [[3, 1, 2]]
    assert ("number", 3) in loader.dependencies


def test_no_keys_are_no_batch(loader):
    with promise_scope():
        assert run(load_level(loader, [])) == {}
    assert loader.batches == []


def test_levels_and_loads_share_a_batch_and_ask_for_a_key_once(loader):
    with promise_scope():
        asked = [
            load_level(loader, [1, 2]),
            loader.load(2),
            loader.load(3),
            load_level(loader, [3, 4, 1]),
        ]
        first, two, three, last = run(Promise.all(asked))
    assert (first[1], first[2], two, three) == (10, 20, 20, 30)
    assert (last[3], last[4], last[1]) == (30, 40, 10)
    assert loader.batches == [[1, 2, 3, 4]]


def test_a_known_key_is_not_loaded_again(loader):
    loader.prime(1, "primed")
    with promise_scope():
        run(loader.load(2))
        run(load_level(loader, [3]))
        assert load(loader, [1, 2, 3, 4]) == ["primed", 20, 30, 40]
        assert run(loader.load(4)) == 40
    assert loader.batches == [[2], [3], [4]]


def test_a_level_of_known_keys_needs_no_job(loader):
    with promise_scope():
        run(load_level(loader, [1, 2]))
        again = loader.load_level([2, 1], lambda _: None)
        assert (again[2], again[1]) == (20, 10)


def test_a_cleared_key_is_loaded_again(loader):
    with promise_scope():
        run(load_level(loader, [1, 2]))
        run(load_level(loader.clear(1), [1, 2]))
        run(load_level(loader.clear_all(), [1, 2]))
    assert loader.batches == [[1, 2], [1], [1, 2]]


def test_a_known_key_cannot_be_primed(loader):
    with promise_scope():
        run(load_level(loader, [1]))
        assert run(loader.prime(1, "other").load(1)) == 10


def test_a_key_that_fails_is_an_error_among_the_values_and_not_remembered(loader):
    with promise_scope():
        good, bad = load(loader, [1, 13])
        assert good == 10
        assert isinstance(bad, ValueError)
        with pytest.raises(ValueError, match="13"):
            run(loader.load(13))
    assert loader.batches == [[1, 13], [13]]


def test_a_load_that_joins_a_failing_level_is_rejected(loader):
    with promise_scope():
        level, joined = load_level(loader, [13]), loader.load(13)
        with pytest.raises(ValueError, match="13"):
            run(joined)
        assert isinstance(run(level)[13], ValueError)


def test_a_batch_that_fails_is_an_error_for_each_key(loader, monkeypatch):
    def fail(_keys):
        raise ValueError("down")

    with promise_scope():
        with monkeypatch.context() as patch:
            patch.setattr(loader, "load_batch", fail)
            assert [str(error) for error in load(loader, [1, 2])] == ["down", "down"]
        assert load(loader, [1, 2]) == [10, 20]


def test_the_cap_holds(settings):
    settings.PCF = replace(settings.PCF, loaders=replace(settings.PCF.loaders, max_batch_size=100))
    loader = Tens(ANONYMOUS, Dependencies(), {})
    loader.batches = []
    keys = list(range(100, 350))
    with promise_scope():
        assert load(loader, keys) == [key * 10 for key in keys]
    assert [len(batch) for batch in loader.batches] == [100, 100, 50]


def test_a_level_takes_offered_values_and_depends_on_them_alone(loader):
    loader.offer({1: "one", 2: None, 3: "three"})
    loader.default_value = lambda: "nothing"
    with promise_scope():
        assert load(loader, [1, 2, 4]) == ["one", "nothing", 40]
    assert loader.batches == [[4]]
    assert [("number", key) in loader.dependencies for key in (1, 2, 3, 4)] == [
        True, True, False, True,
    ]  # fmt: skip


def test_a_cleared_loader_forgets_what_was_offered(loader):
    with promise_scope():
        loader.offer({1: "one", 2: "two"})
        assert load(loader.clear(1), [1, 2]) == [10, "two"]
        loader.offer({3: "three"})
        assert load(loader.clear_all(), [3]) == [30]


def test_a_known_value_is_not_replaced_by_an_offered_one(loader):
    with promise_scope():
        assert load(loader, [1]) == [10]
        loader.offer({1: "one"})
        assert load(loader, [1]) == [10]
