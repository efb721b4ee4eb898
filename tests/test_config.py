"""Values that cannot work, or cannot work together."""

import pytest

from pcf.config import Config, ConfigError, Database, Pool, Timeouts


def test_a_pool_is_sized_with_the_threads():
    pool = Pool().sized(8)
    assert (pool.max_size, pool.max_waiting) == (10, 40)
    assert Pool(max_size=8, max_waiting=3).sized(8) == Pool(max_size=8, max_waiting=3)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Pool(max_size=7).sized(8), "THREADS"),
        (lambda: Pool(min_size=11).sized(8), "min_size"),
        (lambda: Pool(max_waiting=-1), "max_waiting"),
        (lambda: Pool(timeout=0), "timeout"),
        (lambda: Pool(max_idle=0), "max_idle"),
        (lambda: Config(timeouts=Timeouts(http=2_000)), "generation_ttl"),
        (lambda: Database(startup_wait=-1), "startup_wait"),
        (lambda: Database(backoff_initial=2), "backoff_initial"),
    ],
)
def test_what_cannot_work_is_refused(make, named):
    with pytest.raises(ConfigError, match=named):
        make()
