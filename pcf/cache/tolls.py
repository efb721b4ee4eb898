"""What executing a request costs its client: points from a token bucket in Redis.

The bucket is a hash ``P:r:<client>``: its level, and when that was. A look-up takes the toll of a
request that it finds nobody has executed yet, so that a miss needs no round trip of its own for it.
"""

from typing import NamedTuple

# take(name, size, points a second, points) -> seconds to wait as text, "0.000000" when the points
# were there and have been taken. Points below 0 are given back. Raises where Redis has no memory.
TAKE = """
local function take(name, size, rate, points)
  size, rate, points = tonumber(size), tonumber(rate), tonumber(points)
  local time = redis.call('TIME')
  local now = time[1] + time[2] / 1000000
  local bucket = redis.call('HMGET', name, 'level', 'at')
  local level = tonumber(bucket[1]) or size
  level = math.min(size, level + math.max(0, now - (tonumber(bucket[2]) or now)) * rate)
  local wait = 0
  if level >= points then
    level = math.min(size, level - points)
  else
    wait = (points - level) / rate
  end
  redis.call('HSET', name, 'level', string.format('%.6f', level), 'at', string.format('%.6f', now))
  redis.call('PEXPIRE', name, math.ceil(size / rate * 1000) + 1000)
  return string.format('%.6f', wait)
end
"""


class Bucket(NamedTuple):
    """How many points a kind of client may have, and how many come back in a second."""

    size: int
    rate: float


class Toll(NamedTuple):
    """``points`` from the bucket of who asks: a viewer has one of the kind ``viewers``; nobody
    has one of the kind ``addresses``, called ``address``.
    """

    points: int
    address: str
    addresses: Bucket
    viewers: Bucket

    @property
    def arguments(self) -> tuple[int | float | str, ...]:
        """As the look-up wants them."""
        return (self.points, self.address, *self.addresses, *self.viewers)


FREE = (0, "", 0, 0, 0, 0)  # the arguments where nothing is to be paid
