"""The Lua scripts that Redis runs: each is one round trip and atomic.

Keys, all under one prefix ``P``:

    P:seq           the clock of writes; also advances with the server's time, so that a server
                    that lost its data never repeats a number
    P:g:<dep>       the generation of a dependency: the clock when it was last written
    P:d:<dep>       sorted set of the entries that depend on it, by the time they expire
    P:e:<...>       an entry, a hash: a response (b body, z the same in gzip, e tag, m max age and
                    stale time in s, s stale time in ms), or the credentials behind a token (b)
    P:f:<...>       the flight that is making an entry now: its id
    P:n:<id>        how often somebody began to wait for this flight
    P:l:<id>        where they wait: a list that gets one element when the flight has landed
    P:s:<hour>      hits and misses of an hour, for people
    P:m:<dep>       the transactions that are being committed and touch a dependency; while there
                    is one, its generation is later than any clock, so nothing is stored
    P:t:<transaction>   what a transaction has marked
    P:r:<client>    what a client may still spend (pcf.cache.tolls)
    P:marked        the transactions with marks, by the time of their marks

A dependency is ``kind:key``. ``kind:*`` stands for "some key of this kind" (an entry with too
many dependencies names kinds only), ``kind!`` for "every key of this kind" (a write too large to
name keys), ``!`` for everything. Every key has a time to live. The keys are computed from the
prefix inside the scripts, which Redis Cluster does not allow: use one Redis, or one with replicas.

KEYS[1] is no key: it is the run of the server that the client is connected to. Entries carry the
run that they were stored in (r) and are found in no other: what a server brings back from a file,
or from the server that it was a replica of, may be older than a write.
"""

from pcf.cache.tolls import TAKE

# -> clock, run, credentials or false, and for a hit: ms left, meta, tag, coding, body or false when
#    the client has it; for a miss with a flight: false, its id (the caller's own: it leads) or ""
#    where the points are missing, and once they were asked for: seconds to wait, 0 for paid
# ARGV: prefix, token digest or "", viewer when there is no token, "" or the name under which all
#       viewers share, digest of the request or "", seconds that the clock is kept, coding that
#       the client accepts or "", tag that it has or "", id for a flight or "", ms that it lasts,
#       hits and misses to be counted, points that who leads has to pay (0: none), the bucket of who
#       is nobody, its size and points a second, size and points a second of a viewer's bucket
LOOKUP = (
    f"""{TAKE}"""
    """
local prefix, token, viewer, shared, digest = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local clock = redis.call('GET', prefix .. ':seq')
if not clock then
  local now = redis.call('TIME')
  clock = string.format('%d%06d', now[1], now[2])
  redis.call('SET', prefix .. ':seq', clock, 'EX', ARGV[6])
end
if ARGV[11] ~= '0' or ARGV[12] ~= '0' then  -- figures for people: pcall, since nothing needs them
  local hour = prefix .. ':s:' .. math.floor(redis.call('TIME')[1] / 3600)
  redis.pcall('HINCRBY', hour, 'hits', ARGV[11])
  redis.pcall('HINCRBY', hour, 'misses', ARGV[12])
  redis.pcall('EXPIRE', hour, 90000)
end
local credentials = false
if token ~= '' then
  local stored = redis.call('HMGET', prefix .. ':e:token:' .. token, 'b', 'r')
  if stored[2] ~= KEYS[1] then
    return {clock, KEYS[1], false}
  end
  credentials = stored[1]
  viewer = string.match(credentials, '^%S+')
end
if digest == '' then
  return {clock, KEYS[1], credentials}
end
local name = (shared ~= '' and shared or viewer) .. ':' .. digest
local entry, flight, own = prefix .. ':e:' .. name, prefix .. ':f:' .. name, ARGV[9]
local wait = ''
local function pay()  -- whoever leads, executes; pcall: out of memory nothing can be written down
  if ARGV[13] == '0' or wait ~= '' then
    return true
  end
  local id = string.match(viewer, '^%d+')
  local bucket = prefix .. ':r:' .. (id and 'v' .. id or ARGV[14])
  local size, rate = id and ARGV[17] or ARGV[15], id and ARGV[18] or ARGV[16]
  local asked, told = pcall(take, bucket, size, rate, ARGV[13])
  wait = asked and told or ''
  return not asked or tonumber(told) == 0
end
local function lead()  -- pcall: out of memory there are no flights, but hits
  if own == '' or redis.call('EXISTS', flight) == 1 or not pay() then
    return false
  end
  local led = redis.pcall('SET', flight, own, 'NX', 'PX', ARGV[10])
  return led and led.ok
end
local found = redis.call('HMGET', entry, 'm', 'e', 's', 'r')
if found[4] ~= KEYS[1] then
  found[1] = false
end
if found[1] then
  local left = redis.call('PTTL', entry)
  -- stale: one makes it anew, the others are served what there is
  if not (left <= tonumber(found[3]) and lead()) then
    local coding, tag, field = '', found[2], 'b'
    if ARGV[7] ~= '' and redis.call('HSTRLEN', entry, 'z') > 0 then
      coding, tag, field = ARGV[7], tag .. '-' .. ARGV[7], 'z'
    end
    local body = tag ~= ARGV[8] and redis.call('HGET', entry, field)
    return {clock, KEYS[1], credentials, left, found[1], found[2], coding, body}
  end
end
if own == '' then
  return {clock, KEYS[1], credentials}
end
if found[1] or lead() then
  return {clock, KEYS[1], credentials, false, own, wait}
end
if wait ~= '' then
  return {clock, KEYS[1], credentials, false, '', wait}
end
local leader = redis.call('GET', flight)
if not leader then
  return {clock, KEYS[1], credentials}
end
redis.pcall('INCR', prefix .. ':n:' .. leader)
redis.pcall('EXPIRE', prefix .. ':n:' .. leader, 60)
return {clock, KEYS[1], credentials, false, leader}
"""
)

# -> number of keys, INFO memory, hits and misses of each of the last 24 hours, the latest first
# ARGV: the prefix
OVERVIEW = """
local told = {redis.call('DBSIZE'), redis.call('INFO', 'memory')}
local hour = math.floor(redis.call('TIME')[1] / 3600)
for back = 0, 23 do
  told[#told + 1] = redis.call('HMGET', ARGV[1] .. ':s:' .. (hour - back), 'hits', 'misses')
end
return told
"""

# Ends a flight: from now on another may lead, and who waits for this one is told its outcome.
_LAND = """
local function land(flight, id, outcome)
  if id == '' then
    return
  end
  if redis.call('GET', flight) == id then
    redis.call('UNLINK', flight)
  end
  if redis.call('UNLINK', ARGV[1] .. ':n:' .. id) == 1 then
    redis.call('RPUSH', ARGV[1] .. ':l:' .. id, outcome)
    redis.call('PEXPIRE', ARGV[1] .. ':l:' .. id, 10000)
  end
end
"""

# ARGV: prefix, name of the entry that the flight was for, its id, outcome
LAND = f"""{_LAND}
land(ARGV[1] .. ':f:' .. ARGV[2], ARGV[3], ARGV[4])
"""

# Makes the lease of a flight last for so many ms from now.
# ARGV: prefix, name of the entry that the flight is for, its id, ms
RENEW = """
local flight = ARGV[1] .. ':f:' .. ARGV[2]
if redis.call('GET', flight) == ARGV[3] then
  redis.call('PEXPIRE', flight, ARGV[4])
end
"""

# -> 1 stored, 0 refused because something it depends on was written since ``clock``, or may have
#    been: in another run of the server
# ARGV: prefix, clock when reading began, run that told it, name of the entry, time to live in ms,
#       id of the flight or "", number of fields, their names and values, dependencies...
STORE = f"""{_LAND}
local prefix, clock, ttl = ARGV[1], ARGV[2], tonumber(ARGV[5])
local first = 8 + 2 * ARGV[7]
local function later(a, b)
  return #a > #b or (#a == #b and a > b)
end
local function fenced()
  if ARGV[3] ~= KEYS[1] then
    return true
  end
  local current = redis.call('GET', prefix .. ':seq')
  if not current or later(clock, current) then
    return true
  end
  local flushed = redis.call('GET', prefix .. ':g:!')
  if flushed and later(flushed, clock) then
    return true
  end
  for from = first, #ARGV, 1000 do
    local names = {{}}
    for i = from, math.min(from + 999, #ARGV) do
      names[#names + 1] = prefix .. ':g:' .. ARGV[i]
    end
    for _, generation in ipairs(redis.call('MGET', unpack(names))) do
      if generation and later(generation, clock) then
        return true
      end
    end
  end
  return false
end
local name = prefix .. ':e:' .. ARGV[4]
if fenced() then
  land(prefix .. ':f:' .. ARGV[4], ARGV[6], 'again')
  return 0
end
-- the first write: refused without memory
redis.call('HSET', name, 'r', KEYS[1], unpack(ARGV, 8, first - 1))
redis.call('PEXPIRE', name, ttl)
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
for i = first, #ARGV do  -- two commands each, since a large response has hundreds
  local set = prefix .. ':d:' .. ARGV[i]
  local left = redis.call('PTTL', set)
  local added = redis.call('ZADD', set, now_ms + ttl, name)
  if left < ttl then  -- for longer than needed, so that the next ones find enough
    redis.call('PEXPIRE', set, 2 * ttl)
  end
  if added == 1 and left >= 0 and (now[2] + i) % 8 == 0 then  -- it has grown: now and then
    redis.call('ZREMRANGEBYSCORE', set, '-inf', '(' .. now_ms)
  end
end
land(prefix .. ':f:' .. ARGV[4], ARGV[6], 'again')
return 1
"""

# Removes a list of dependents and the entries in it: one that lost its list would be missed by
# writes.
_REMOVE = """
local function remove(set)
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

# What the scripts of writes begin with. ARGV: prefix, seconds that generations are kept, ...
_WRITE = (
    _REMOVE
    + """
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
"""
)

# -> number of entries removed
# ARGV: prefix, seconds that generations are kept, dependencies...
INVALIDATE = (
    _WRITE
    + """
local removed = 0
for i = 3, #ARGV do
  removed = removed + remove(prefix .. ':d:' .. ARGV[i])
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

# Removes entries and lists of dependents, these with all that is in them, whenever it was stored.
# -> number of entries removed
# ARGV: prefix, keys...
DROP = (
    _REMOVE
    + """
local removed = 0
for i = 2, #ARGV do
  if string.sub(ARGV[i], #ARGV[1] + 1, #ARGV[1] + 3) == ':d:' then
    removed = removed + remove(ARGV[i])
  else
    removed = removed + redis.call('UNLINK', ARGV[i])
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
  removed = removed + remove(prefix .. ':d:' .. ARGV[i])
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
