"""Values that cannot work, alone or together."""

import pytest

from pcf.conf.sections import Config, ConfigError, DatabaseSettings, PoolSettings, TimeoutSettings


def test_a_pool_is_sized_with_the_threads():
    pool = PoolSettings().sized(8)
    assert (pool.max_size, pool.max_waiting) == (10, 40)
    assert PoolSettings(max_size=8, max_waiting=3).sized(8) == PoolSettings(
        max_size=8, max_waiting=3
    )


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: PoolSettings(max_size=7).sized(8), "THREADS"),
        (lambda: PoolSettings(min_size=11).sized(8), "min_size"),
        (lambda: PoolSettings(max_waiting=-1), "max_waiting"),
        (lambda: PoolSettings(timeout=0), "timeout"),
        (lambda: PoolSettings(max_idle=0), "max_idle"),
        (lambda: Config(timeouts=TimeoutSettings(http=2_000)), "generation_ttl"),
        (lambda: DatabaseSettings(startup_wait=-1), "startup_wait"),
        (lambda: DatabaseSettings(backoff_initial=2), "backoff_initial"),
    ],
)
def test_a_value_that_cannot_work_is_refused(make, named):
    with pytest.raises(ConfigError, match=named):
        make()
