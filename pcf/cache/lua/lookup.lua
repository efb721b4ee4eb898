-- Find the viewer behind a token, and a response for that viewer.
--
-- ARGV: see LookupArguments.
-- Return {clock, run_id, credentials or false, ...}; the clock is false outside of an epoch. After
-- these three:
--   a hit:    milliseconds left, meta, tag, coding, body (false when the client has the body)
--   a miss with a flight: false, id of the flight (the caller's own id: the caller leads), and for a
--             caller that leads or must wait for tokens: the seconds to wait, "" for no rate limit.
--             The id is "" where tokens are missing.
--   a miss without a flight: nothing
local prefix, token, viewer, shared, digest, generation_ttl, coding, known_tag, own_flight,
  lease_ms, hits, misses, points, address_name, address_size, address_rate, viewer_size,
  viewer_rate = unpack(ARGV)
local run_id = KEYS[1]

local state = redis.call('MGET', prefix .. ':seq', prefix .. ':epoch')
local clock = state[1]
if state[2] ~= run_id then
  return {false, run_id, false}
end
if not clock then
  allow_memory(prefix)  -- a new Redis may be at its limit
  local now = redis.call('TIME')
  clock = string.format('%d%06d', now[1], now[2])
  redis.call('SET', prefix .. ':seq', clock, 'EX', generation_ttl)
end

if hits ~= '0' or misses ~= '0' then  -- pcall: out of memory, the statistics are lost, no hit is
  local hour = prefix .. ':s:' .. math.floor(redis.call('TIME')[1] / 3600)
  redis.pcall('HINCRBY', hour, 'hits', hits)
  redis.pcall('HINCRBY', hour, 'misses', misses)
  redis.pcall('EXPIRE', hour, 90000)
end

local credentials = false
if token ~= '' then
  local stored = redis.call('HMGET', prefix .. ':e:token:' .. token, 'b', 'r')
  if stored[2] ~= run_id then
    return {clock, run_id, false}
  end
  credentials = stored[1]
  viewer = string.match(credentials, '^%S+')
end
if digest == '' then
  return {clock, run_id, credentials}
end

local name = (shared ~= '' and shared or viewer) .. ':' .. digest
local entry, flight = prefix .. ':e:' .. name, prefix .. ':f:' .. name

local found = redis.call('HMGET', entry, 'm', 'e', 's', 'r')
local meta, tag, stale_ms = found[1], found[2], found[3]
if found[4] ~= run_id then
  meta = false
end
local left = meta and redis.call('PTTL', entry)
local is_fresh = meta and left > tonumber(stale_ms)

-- The first request that finds no fresh entry leads a flight, if its client can pay for it.
local leads, wait = false, ''
if not is_fresh and own_flight ~= '' and redis.call('EXISTS', flight) == 0 then
  local may_execute = true
  if points ~= '0' then
    local user = viewer ~= 'anonymous' and string.match(viewer, '^[^.]+')
    local bucket = prefix .. ':r:' .. (user and 'v' .. user or address_name)
    local size, rate = user and viewer_size or address_size, user and viewer_rate or address_rate
    allow_memory(prefix)  -- the limits do not depend on room for responses
    wait = take_tokens(bucket, size, rate, points)
    may_execute = tonumber(wait) == 0
  end
  if may_execute then
    -- pcall: out of memory there are no flights, but hits
    local led = redis.pcall('SET', flight, own_flight, 'NX', 'PX', lease_ms)
    leads = led and led.ok
  end
end

if meta and not leads then  -- fresh, or stale while another request renews it
  local body_coding, body_tag, field = '', tag, 'b'
  if coding ~= '' and redis.call('HSTRLEN', entry, 'z') > 0 then
    body_coding, body_tag, field = coding, tag .. '-' .. coding, 'z'
  end
  local body = body_tag ~= known_tag and redis.call('HGET', entry, field)
  return {clock, run_id, credentials, left, meta, tag, body_coding, body}
end
if own_flight == '' then
  return {clock, run_id, credentials}
end
if leads then
  return {clock, run_id, credentials, false, own_flight, wait}
end
if wait ~= '' then
  return {clock, run_id, credentials, false, '', wait}
end
local leader = redis.call('GET', flight)
if not leader then
  return {clock, run_id, credentials}
end
local waiters = prefix .. ':n:' .. leader
redis.pcall('INCR', waiters)
redis.pcall('EXPIRE', waiters, 60)
return {clock, run_id, credentials, false, leader}
