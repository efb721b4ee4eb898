"""The Lua scripts behind ``positions``: each is one round trip and atomic.

Keys, under the prefix P of the response cache, each with a time to live:

    P:w:floor       every replica must be here: the primary's position when Redis knew nothing
    P:w:v:<viewer>  the position behind a viewer's last write
    P:w:log         sorted set of clocks by the positions behind the writes delivered after them

Positions are below 2 ** 53, so numbers of Lua and scores of sorted sets hold them exactly.
"""

KEPT = 10_000  # writes in P:w:log

# -> floor or false, the viewer's position or false, the position of the newest write or false
# ARGV: prefix, viewer
NEEDED = """
local prefix = ARGV[1]
local newest = redis.call('ZREVRANGE', prefix .. ':w:log', 0, 0, 'WITHSCORES')
return {
  redis.call('GET', prefix .. ':w:floor'),
  redis.call('GET', prefix .. ':w:v:' .. ARGV[2]),
  newest[2] or false,
}
"""

# ARGV: prefix, seconds, position
SET_FLOOR = "return redis.call('SET', ARGV[1] .. ':w:floor', ARGV[3], 'EX', ARGV[2], 'NX')"

# Before a write is delivered. Positions are kept in the order of clocks; a position that is too
# high is safe.
# ARGV: prefix, seconds, position, writes kept
RECORD = """
local log = ARGV[1] .. ':w:log'
local clock = redis.call('GET', ARGV[1] .. ':seq') or '0'
local newest = redis.call('ZREVRANGE', log, 0, 0, 'WITHSCORES')
local position = ARGV[3]
if newest[2] and tonumber(newest[2]) > tonumber(position) then
  position = newest[2]
end
redis.call('ZADD', log, position, clock)
redis.call('ZREMRANGEBYRANK', log, 0, -1 - tonumber(ARGV[4]))
redis.call('EXPIRE', log, ARGV[2])
return 1
"""

# ARGV: prefix, seconds, viewer, position
REMEMBER = """
local name = ARGV[1] .. ':w:v:' .. ARGV[3]
local known = redis.call('GET', name)
local position = ARGV[4]
if known and tonumber(known) > tonumber(position) then
  position = known
end
return redis.call('SET', name, position, 'EX', ARGV[2])
"""

# -> the clock before the first write behind the position; '' when all were replayed; false when
#    that is not known
# ARGV: prefix, position, writes kept
CLOCK_OF = """
local log = ARGV[1] .. ':w:log'
local floor = redis.call('GET', ARGV[1] .. ':w:floor')
if not floor or tonumber(floor) > tonumber(ARGV[2]) then
  return false
end
local first = redis.call('ZRANGEBYSCORE', log, '(' .. ARGV[2], '+inf', 'LIMIT', 0, 1)[1]
if not first then
  return ''
end
if redis.call('ZRANK', log, first) == 0 and redis.call('ZCARD', log) >= tonumber(ARGV[3]) then
  return false
end
return first
"""
