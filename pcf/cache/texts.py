"""The texts of automatically persisted documents in Redis, shared by all processes.

When Redis fails nothing is found and nothing is kept; clients then send their documents again.
"""

from pcf.apps import config
from pcf.cache.gate import CacheUnavailable, Gate

# Keys, under the cache's prefix ``P``: P:p:<sha256> a text; P:p the time of its last use by digest,
# so that there are never more than ``persisted.max_documents``.

# -> the text or false; ARGV: prefix, digest, seconds to keep it from now
GET = """
local name = ARGV[1] .. ':p:' .. ARGV[2]
local text = redis.call('GET', name)
if text then
  redis.call('EXPIRE', name, ARGV[3])
  redis.call('ZADD', ARGV[1] .. ':p', redis.call('TIME')[1], ARGV[2])
  redis.call('EXPIRE', ARGV[1] .. ':p', ARGV[3])
end
return text
"""

# -> how many were pushed out; ARGV: prefix, digest, seconds to keep it, text, most documents
PUT = """
local index = ARGV[1] .. ':p'
local now = tonumber(redis.call('TIME')[1])
redis.call('SET', ARGV[1] .. ':p:' .. ARGV[2], ARGV[4], 'EX', ARGV[3])
redis.call('ZADD', index, now, ARGV[2])
redis.call('EXPIRE', index, ARGV[3])
redis.call('ZREMRANGEBYSCORE', index, '-inf', '(' .. string.format('%d', now - ARGV[3]))
local pushed = 0
while redis.call('ZCARD', index) > tonumber(ARGV[5]) do
  redis.call('UNLINK', ARGV[1] .. ':p:' .. redis.call('ZPOPMIN', index)[1])
  pushed = pushed + 1
end
return pushed
"""


class RedisTexts:
    """Texts by their SHA-256."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def get(self, digest: str) -> str | None:
        """The text, kept for another ``persisted.ttl`` from now; None when it is not there."""
        try:
            text = self._gate.run(GET, config().cache.prefix, digest, config().persisted.ttl)
        except CacheUnavailable:
            return None
        return text.decode("utf-8", "surrogatepass") if text else None

    def put(self, digest: str, text: str) -> None:
        """Keep ``text`` for ``persisted.ttl`` seconds; the longest unused is pushed out."""
        limits = config().persisted
        encoded = text.encode("utf-8", "surrogatepass")
        try:
            self._gate.run(
                PUT, config().cache.prefix, digest, limits.ttl, encoded, limits.max_documents
            )
        except CacheUnavailable:
            return
