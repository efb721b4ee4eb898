"""Deadlines: the layers' limits and reserves, and the context of threads."""

import threading
from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcf.conf.sections import ConfigError, TimeoutSettings
from pcf.timeouts import (
    DeadlineExceeded,
    InsufficientTime,
    TimeoutContext,
    activate,
    carried,
    current_timeout,
)

LIMITS = {"graphql": 25.0, "database": 20.0}


def start(seconds: float = 30.0, reserve: float = 0.1) -> TimeoutContext:
    return TimeoutContext.start("http", seconds, limits=LIMITS, reserve=reserve)


def past(layer: str = "http") -> TimeoutContext:
    return TimeoutContext(layer, monotonic() - 1, layer, 30.0)


def test_children_have_their_own_limits_while_there_is_time():
    graphql = start().child_budget("graphql")
    database = graphql.child_budget("database")

    assert (graphql.layer, graphql.bound_by, graphql.limit) == ("graphql", "graphql", 25.0)
    assert (database.layer, database.bound_by, database.limit) == ("database", "database", 20.0)
    assert 24.9 < graphql.remaining() <= 25.0
    assert 19.9 < database.remaining() <= 20.0


def test_a_child_ends_with_its_parent_and_names_the_limit():
    database = start(2.0).child_budget("graphql").child_budget("database")

    assert (database.layer, database.bound_by, database.limit) == ("database", "http", 2.0)
    assert database.remaining() <= 2.0 - 2 * 0.1 + 0.01


def test_a_layer_without_a_limit_has_what_is_left():
    assert 29.8 < start().child_budget("anything").remaining() <= 29.9


@given(
    total=st.floats(0.001, 100),
    limits=st.lists(st.floats(0.001, 100), max_size=5),
    reserve=st.floats(0, 5),
)
def test_a_child_never_ends_after_its_parent(total, limits, reserve):
    context = start(total, reserve)
    for number, limit in enumerate(limits):
        child = context.child_budget(f"layer-{number}", limit)
        assert child.deadline <= context.deadline
        assert child.remaining() <= limit + 1e-6
        context = child


def test_every_layer_keeps_its_own_reserve_for_its_own_answer():
    reserves = {"graphql": 0.5, "": 0.125}
    http = TimeoutContext.start("http", 16.0, reserve=1.0, reserves=reserves)
    graphql = http.child_budget("graphql")
    anything = graphql.child_budget("anything")
    below = anything.child_budget("cache", 100.0)

    assert http.deadline - graphql.deadline == pytest.approx(1.0)
    assert graphql.deadline - anything.deadline == pytest.approx(0.5)
    assert anything.deadline - below.deadline == pytest.approx(0.125)


def test_a_thread_with_the_context_has_the_deadline_of_the_request():
    seen = []

    def look(number, *, doubled):
        seen.append((current_timeout(), number, doubled))

    with activate(start()) as context:
        carried_look = carried(look)
        threads = [
            threading.Thread(target=carried_look, args=(number,), kwargs={"doubled": 2 * number})
            for number in range(3)
        ]
        for thread in threads:
            thread.start()
    for thread in threads:
        thread.join()
    carried_look(3, doubled=6)

    assert sorted(seen, key=lambda entry: entry[1]) == [(context, n, 2 * n) for n in range(4)]
    assert current_timeout() is None


def test_check_and_require_raise_when_time_is_up():
    with pytest.raises(DeadlineExceeded) as caught:
        past().check()
    assert caught.value.extensions == {"code": "TIMEOUT", "layer": "http", "limit": 30.0}

    with pytest.raises(InsufficientTime, match=r"^Insufficient time remaining$") as short:
        start(0.5).require(1.0)
    assert short.value.extensions["code"] == "TIMEOUT"

    start().check()
    start().require(1.0)


def test_an_expired_context_has_nothing_left():
    assert past().remaining() == 0.0
    assert past().expired
    assert past().child_budget("database").expired


def test_the_current_context_is_per_thread_and_ends_with_its_block():
    seen = []
    with activate(start()) as context:
        assert current_timeout() is context
        thread = threading.Thread(target=lambda: seen.append(current_timeout()))
        thread.start()
        thread.join()
    assert seen == [None]
    assert current_timeout() is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"http": 25.0, "graphql": 25.0},
        {"graphql": 20.0, "database": 20.0},
        {"database": 0.0},
        {"cache": 0.0},
        {"reserve": -1.0},
        {"reserve_http": 5.0},
        {"reserve_graphql": 5.0},
    ],
)
def test_limits_out_of_order_are_refused(wrong):
    with pytest.raises(ConfigError):
        TimeoutSettings(**wrong)
