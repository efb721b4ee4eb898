-- Advance the clock. Return its new value: microseconds since 1970, or one more than before.
-- The script compares clocks as text, since a number in Lua has too few digits.
local function advance_clock(prefix, now, generation_ttl)
  local time = string.format('%d%06d', now[1], now[2])
  local clock = string.format('%d', redis.call('INCR', prefix .. ':seq'))
  if #time > #clock or (#time == #clock and time > clock) then
    clock = time
  end
  redis.call('SET', prefix .. ':seq', clock, 'EX', generation_ttl)
  return clock
end
