-- Store an entry, unless a write touched one of its dependencies after `clock`. End its flight.
--
-- ARGV: see StoreArguments; then the fields of the entry's hash as names and values in turn, then
-- the names of its dependencies.
-- Return 1 when the entry is stored, 0 when the fence refuses it. The fence also refuses an entry
-- whose clock comes from another run of the server: that run knew writes that this one does not.
-- Return -1 when the client has used up its share of the memory. The points are taken with 1 alone.
local prefix, clock, clock_run_id, name, ttl_ms, flight, field_count, client, bytes, share_size,
  share_rate, points, points_size, points_rate = unpack(ARGV, 1, 14)
local run_id = KEYS[1]
local first_field, first_dependency = 15, 15 + 2 * field_count
ttl_ms = tonumber(ttl_ms)

local function is_later(one, other)  -- as text, since a number in Lua has too few digits
  return #one > #other or (#one == #other and one > other)
end

local function is_fenced()
  if clock_run_id ~= run_id then
    return true
  end
  local state = redis.call('MGET', prefix .. ':seq', prefix .. ':g:!', prefix .. ':epoch')
  local current, flushed, epoch = state[1], state[2], state[3]
  if epoch ~= run_id or not current or is_later(clock, current) then
    return true
  end
  if flushed and is_later(flushed, clock) then
    return true
  end
  for first = first_dependency, #ARGV, 1000 do  -- unpack() has a limit
    local generations = {}
    for i = first, math.min(first + 999, #ARGV) do
      generations[#generations + 1] = prefix .. ':g:' .. ARGV[i]
    end
    for _, generation in ipairs(redis.call('MGET', unpack(generations))) do
      if generation and is_later(generation, clock) then
        return true
      end
    end
  end
  return false
end

if is_fenced() then
  complete_flight(prefix, name, flight, 'again')
  return 0
end

if client ~= '' then
  if tonumber(take_tokens(prefix .. ':b:' .. client, share_size, share_rate, bytes)) > 0 then
    complete_flight(prefix, name, flight, 'again')
    return -1
  end
  if points ~= '0' then
    take_tokens(prefix .. ':r:' .. client, points_size, points_rate, points, true)
  end
end

local entry = prefix .. ':e:' .. name
-- Redis refuses this command, and so the whole script, when it is out of memory
redis.call('HSET', entry, 'r', run_id, unpack(ARGV, first_field, first_dependency - 1))
redis.call('PEXPIRE', entry, ttl_ms)

local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
for i = first_dependency, #ARGV do  -- few commands each, since a large response has hundreds
  local list = prefix .. ':d:' .. ARGV[i]
  local left = redis.call('PTTL', list)
  local added = redis.call('ZADD', list, now_ms + ttl_ms, entry)
  if left < ttl_ms then  -- twice the time, so that the next entries find enough of it
    redis.call('PEXPIRE', list, 2 * ttl_ms)
  end
  -- one store in eight removes entries that have expired from a list that grew
  if added == 1 and left >= 0 and (now[2] + i) % 8 == 0 then
    redis.call('ZREMRANGEBYSCORE', list, '-inf', '(' .. now_ms)
  end
end
complete_flight(prefix, name, flight, 'again')
return 1
