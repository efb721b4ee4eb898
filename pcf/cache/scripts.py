"""The Lua scripts that Redis runs: each is one round trip and atomic.

Keys, all under one prefix ``P``:

    P:seq           the clock of writes; also advances with the server's time, so that a server
                    that lost its data never repeats a number
    P:g:<dep>       the generation of a dependency: the clock when it was last written
    P:d:<dep>       sorted set of the entries that depend on it, by the time they expire
    P:e:<...>       an entry: a response, or the credentials behind a token
    P:m:<dep>       the transactions that are being committed and touch a dependency; while there
                    is one, its generation is later than any clock, so nothing is stored
    P:t:<transaction>   what a transaction has marked
    P:marked        the transactions with marks, by the time of their marks

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

# What the scripts of writes begin with. ARGV: prefix, seconds that generations are kept, ...
_WRITE = """
local prefix, keep = ARGV[1], ARGV[2]
redis.call('UNLINK', prefix .. ':none')  -- after a first write Redis lets a script use memory
local now = redis.call('TIME')
local function advance()
  local time = string.format('%d%06d', now[1], now[2])
  local clock = string.format('%d', redis.call('INCR', prefix .. ':seq'))
  if #time > #clock or (#time == #clock and time > clock) then
    clock = time
  end
  redis.call('SET', prefix .. ':seq', clock, 'EX', keep)
  return clock
end
local function remove(name)
  local set = prefix .. ':d:' .. name
  local entries = redis.call('ZRANGE', set, 0, -1)
  local removed = 0
  for first = 1, #entries, 1000 do
    local last = math.min(first + 999, #entries)
    removed = removed + redis.call('UNLINK', unpack(entries, first, last))
  end
  redis.call('UNLINK', set)
  return removed
end
"""

# -> number of entries removed
# ARGV: prefix, seconds that generations are kept, dependencies...
INVALIDATE = (
    _WRITE
    + """
local removed = 0
for i = 3, #ARGV do
  removed = removed + remove(ARGV[i])
end
local clock = advance()
for i = 3, #ARGV do
  if redis.call('EXISTS', prefix .. ':m:' .. ARGV[i]) == 0 then
    redis.call('SET', prefix .. ':g:' .. ARGV[i], clock, 'EX', keep)
  end
end
return removed
"""
)

# Before a commit: nothing that depends on what it touches is served or stored until ``CLEAR``.
# -> number of entries removed
# ARGV: prefix, seconds that marks are kept, transaction, dependencies...
MARK = (
    _WRITE
    + """
local removed = 0
for i = 4, #ARGV do
  removed = removed + remove(ARGV[i])
end
for i = 4, #ARGV do
  local marks = prefix .. ':m:' .. ARGV[i]
  redis.call('SADD', marks, ARGV[3])
  redis.call('EXPIRE', marks, keep)
  redis.call('SET', prefix .. ':g:' .. ARGV[i], '99999999999999999999', 'EX', keep)
end
redis.call('ZADD', prefix .. ':marked', now[1], ARGV[3])
redis.call('EXPIRE', prefix .. ':marked', keep)
redis.call('SET', prefix .. ':t:' .. ARGV[3], table.concat(ARGV, '\\n', 4), 'EX', keep)
return removed
"""
)

# After the commit (or after it failed).
# -> 1, or 0 when the mark was not there: Redis lost it, or somebody else has cleared it
# ARGV: prefix, seconds that generations are kept, transaction
CLEAR = (
    _WRITE
    + """
local marked = prefix .. ':t:' .. ARGV[3]
local names = redis.call('GET', marked)
redis.call('ZREM', prefix .. ':marked', ARGV[3])
if not names then
  return 0
end
local clock = advance()
for name in string.gmatch(names, '[^\\n]+') do
  local marks = prefix .. ':m:' .. name
  redis.call('SREM', marks, ARGV[3])
  if redis.call('EXISTS', marks) == 0 then
    redis.call('SET', prefix .. ':g:' .. name, clock, 'EX', keep)
  end
end
redis.call('UNLINK', marked)
return 1
"""
)

# -> the transactions whose marks are at least so many seconds old
# ARGV: prefix, seconds
MARKED = """
local now = redis.call('TIME')
return redis.call('ZRANGEBYSCORE', ARGV[1] .. ':marked', '-inf', now[1] - tonumber(ARGV[2]))
"""
