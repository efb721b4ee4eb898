"""Loaders collect keys into batches of a bounded size, and die with their request."""

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from promise import Promise
from promise.dataloader import DataLoader
from promise.promise import async_instance

from pcf.execution.context import RequestContext
from pcf.execution.dependencies import Dependencies
from pcf.execution.loaders import ListLoader, Loader, Loaders, find_loader
from pcf.execution.promises import promise_scope, run
from pcf.viewer import ANONYMOUS, Viewer
from tests.conftest import token_for


class Recording(Loader):
    dependency = "number"
    batches: list = []

    def load_batch(self, keys):
        self.batches.append(list(keys))
        return {key: key * 10 for key in keys if key != 1313}


class Words(ListLoader):
    dependency = "word"

    def load_batch(self, keys):
        return {1: ["a"]}


@pytest.fixture
def dependencies():
    return Dependencies()


@pytest.fixture
def loader(dependencies):
    made = Recording(ANONYMOUS, dependencies, {})
    made.batches = []
    return made


def load_all(loader, keys):
    with promise_scope():
        return run(loader.load_many(keys))


def test_loads_of_one_moment_are_one_batch_and_equal_keys_are_asked_once(loader):
    with promise_scope():
        loads = [loader.load(1), loader.load(2), loader.load(1), loader.load_many([2, 3])]
        assert run(Promise.all(loads)) == [10, 20, 10, [20, 30]]
    assert loader.batches == [[1, 2, 3]]


def test_a_loader_has_the_methods_of_a_dataloader_of_promise(loader):
    documented = {"load", "load_many", "clear", "clear_all", "prime"}
    assert documented <= {name for name in vars(DataLoader) if hasattr(loader, name)}
    with pytest.raises(TypeError, match="None"):
        loader.load(None)
    with promise_scope():
        assert run(loader.prime(1, "primed").load_many(iter([1, 2]))) == ["primed", 20]
        assert run(loader.clear(1).load_many((1, 2))) == [10, 20]
        assert run(loader.clear_all().load_many({2})) == [20]
    assert loader.batches == [[2], [1], [2]]


def test_a_loader_is_the_same_in_another_thread(loader):
    loader.prime(1, "primed")
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: loader.load(1).get()).result() == "primed"


def test_250_keys_under_a_cap_of_100_make_3_batches(settings, dependencies):
    settings.PCF = replace(settings.PCF, loaders=replace(settings.PCF.loaders, max_batch_size=100))
    loader = Recording(ANONYMOUS, dependencies, {})
    loader.batches = []
    assert load_all(loader, range(1, 251)) == [number * 10 for number in range(1, 251)]
    assert [len(batch) for batch in loader.batches] == [100, 100, 50]


def test_a_missing_key_has_none_or_an_empty_list(loader, dependencies):
    assert load_all(loader, [1313, 1]) == [None, 10]
    assert load_all(Words(ANONYMOUS, dependencies, {}), [1, 2]) == [["a"], []]


def test_keys_are_dependencies_whether_something_was_found_or_not(loader, dependencies):
    load_all(loader, [1313, 1])
    assert ("number", 1313) in dependencies
    assert ("number", 1) in dependencies
    assert len(dependencies) == 2


def test_a_failed_batch_rejects_its_loads_and_can_be_asked_again(loader, monkeypatch):
    def fail(_keys):
        raise ValueError("down")

    monkeypatch.setattr(loader, "load_batch", fail)
    with promise_scope(), pytest.raises(ValueError, match="down"):
        run(loader.load(1))
    monkeypatch.undo()
    assert load_all(loader, [1]) == [10]


def test_loaders_are_made_once_for_their_arguments():
    loaders = RequestContext(Viewer(3)).loaders
    one = loaders.get("notes.NotesByAuthor", first=1, after=0)
    assert loaders.get("notes.NotesByAuthor", after=0, first=1) is one
    assert loaders.get("notes.NotesByAuthor", first=2, after=0) is not one
    assert one.viewer == Viewer(3)
    loaders.clear()
    assert loaders.get("notes.NotesByAuthor", first=1, after=0) is not one


def test_unknown_loaders_are_an_error():
    with pytest.raises(ImportError):
        find_loader("notes.Nope")


def test_a_viewer_depends_on_their_own_record():
    assert ("account", 3) in RequestContext(Viewer(3)).dependencies
    assert len(RequestContext(ANONYMOUS).dependencies) == 0


def test_nothing_of_a_request_is_alive_after_it(world, ask, monkeypatch):
    made = []
    original = Loaders.__init__

    def watch(self, *arguments):
        original(self, *arguments)
        made.append(self)

    monkeypatch.setattr(Loaders, "__init__", watch)
    references = []

    class Watched(Recording):
        pass

    ask("{ users { notes { author { name } } } }", token_for(world.ann))
    references = [weakref.ref(loader) for loaders in made for loader in loaders._loaders.values()]
    assert len(references) == 3
    made.clear()
    gc.collect()
    assert [reference() for reference in references] == [None, None, None]
    assert not async_instance.normal_queue
    assert not async_instance.is_tick_used


def test_a_request_that_was_cut_short_leaves_nothing_to_the_next(world, ask, monkeypatch):
    """The next request on the thread does not run the jobs of an interrupted request."""
    ran = []

    def cut(loader, keys):
        Promise.resolve(1).then(lambda _: ran.append(keys))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("users.loaders.UserById.load_batch", cut)
        with pytest.raises(KeyboardInterrupt):
            ask("{ notes { author { name } } }")
    assert ask("{ notes { author { name } } }").data == {"notes": [{"author": {"name": "Ann"}}]}
    assert ran == []
