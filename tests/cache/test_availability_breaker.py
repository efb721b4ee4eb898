"""The circuit breaker: closed, open after failures in a row, then half-open for one command."""

from dataclasses import replace

import pytest

from pcf.cache import availability
from pcf.cache.availability import CircuitBreaker

ERROR = OSError("refused")


@pytest.fixture
def clock(monkeypatch, settings):
    """The time in seconds as a list of one number; the breaker opens for 10 after 2 failures."""
    cache = replace(settings.PCF.cache, breaker_failures=2, breaker_seconds=10.0)
    settings.PCF = replace(settings.PCF, cache=cache)
    now = [100.0]
    monkeypatch.setattr(availability, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def breaker(clock):
    return CircuitBreaker()


def fail(breaker, times):
    for _ in range(times):
        assert breaker.allows_command()
        breaker.record_failure(ERROR)


def test_it_is_closed_at_first_and_after_fewer_failures(breaker):
    fail(breaker, 1)
    assert breaker.is_closed
    assert not breaker.is_open


def test_a_success_between_failures_keeps_it_closed(breaker):
    for _ in range(3):
        fail(breaker, 1)
        breaker.record_success()
    assert breaker.is_closed


def test_failures_in_a_row_open_it_for_a_while(breaker, clock):
    fail(breaker, 2)
    assert breaker.is_open
    clock[0] += 9.9
    assert not breaker.allows_command()


def test_after_a_while_one_command_tries(breaker, clock):
    fail(breaker, 2)
    clock[0] += 10.0
    assert not breaker.is_open
    assert not breaker.is_closed
    assert [breaker.allows_command() for _ in range(3)] == [True, False, False]


@pytest.mark.parametrize("succeeds", [True, False])
def test_the_command_that_tries_decides(breaker, clock, succeeds):
    fail(breaker, 2)
    clock[0] += 10.0
    assert breaker.allows_command()
    if succeeds:
        breaker.record_success()
    else:
        breaker.record_failure(ERROR)
    assert breaker.is_closed == succeeds
    assert breaker.allows_command() == succeeds


def test_the_log_says_when_it_opens_and_closes(breaker, caplog):
    fail(breaker, 2)
    breaker.record_failure(ERROR)  # of a command that was under way
    breaker.record_success()
    assert [record.getMessage() for record in caplog.records] == [
        "Redis fails, responses are no longer cached: refused",
        "Redis answers again, responses are cached",
    ]
