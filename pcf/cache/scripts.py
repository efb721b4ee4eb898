"""The Lua scripts that Redis runs: each is one round trip and atomic.

Keys, all under one prefix ``P``:

    P:seq           the clock of writes; also advances with the server's time, so that a server
                    that lost its data never repeats a number
    P:g:<dep>       the generation of a dependency: the clock when it was last written
    P:d:<dep>       sorted set of the entries that depend on it, by the time they expire
    P:e:<...>       an entry: a response, or the credentials behind a token

A dependency is ``kind:key``. ``kind:*`` stands for "some key of this kind" (an entry with too
many dependencies names kinds only), ``kind!`` for "every key of this kind" (a write too large to
name keys), ``!`` for everything. Every key has a time to live. The keys are computed from the
prefix inside the scripts, which Redis Cluster does not allow: use one Redis, or one with replicas.
"""

# -> clock, credentials or false, response or false
# ARGV: prefix, token digest or "", viewer when there is no token, digest of the request or "",
#       seconds that the clock is kept
LOOKUP = """
local prefix, token, viewer, digest = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local clock = redis.call('GET', prefix .. ':seq')
if not clock then
  local now = redis.call('TIME')
  clock = string.format('%d%06d', now[1], now[2])
  redis.call('SET', prefix .. ':seq', clock, 'EX', ARGV[5])
end
local credentials = false
if token ~= '' then
  credentials = redis.call('GET', prefix .. ':e:token:' .. token)
  if not credentials then
    return {clock, false, false}
  end
  viewer = string.match(credentials, '^%S+')
end
if digest == '' then
  return {clock, credentials, false}
end
return {clock, credentials, redis.call('GET', prefix .. ':e:' .. viewer .. ':' .. digest)}
"""

# -> 1 stored, 0 refused because something it depends on was written since ``clock``
# ARGV: prefix, clock when reading began, name of the entry, value, time to live in ms,
#       dependencies...
STORE = """
local prefix, clock, ttl = ARGV[1], ARGV[2], tonumber(ARGV[5])
local function later(a, b)
  return #a > #b or (#a == #b and a > b)
end
local current = redis.call('GET', prefix .. ':seq')
if not current or later(clock, current) then
  return 0
end
local flushed = redis.call('GET', prefix .. ':g:!')
if flushed and later(flushed, clock) then
  return 0
end
for i = 6, #ARGV do
  local generation = redis.call('GET', prefix .. ':g:' .. ARGV[i])
  if generation and later(generation, clock) then
    return 0
  end
end
local name = prefix .. ':e:' .. ARGV[3]
redis.call('SET', name, ARGV[4], 'PX', ttl)
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
for i = 6, #ARGV do
  local set = prefix .. ':d:' .. ARGV[i]
  redis.call('ZADD', set, now_ms + ttl, name)
  redis.call('ZREMRANGEBYSCORE', set, '-inf', '(' .. now_ms)
  if redis.call('PTTL', set) < ttl then
    redis.call('PEXPIRE', set, ttl)
  end
end
return 1
"""

# -> number of entries removed
# ARGV: prefix, seconds that generations are kept, dependencies...
INVALIDATE = """
local prefix, keep = ARGV[1], ARGV[2]
local now = redis.call('TIME')
local time = string.format('%d%06d', now[1], now[2])
local clock = string.format('%d', redis.call('INCR', prefix .. ':seq'))
if #time > #clock or (#time == #clock and time > clock) then
  clock = time
end
redis.call('SET', prefix .. ':seq', clock, 'EX', keep)
local removed = 0
for i = 3, #ARGV do
  redis.call('SET', prefix .. ':g:' .. ARGV[i], clock, 'EX', keep)
  local set = prefix .. ':d:' .. ARGV[i]
  local names = redis.call('ZRANGE', set, 0, -1)
  for first = 1, #names, 1000 do
    removed = removed + redis.call('UNLINK', unpack(names, first, math.min(first + 999, #names)))
  end
  redis.call('UNLINK', set)
end
return removed
"""
