-- Take `points` tokens from the token bucket `name`; give tokens back when `points` is negative.
-- A bucket is a hash: `level` is its number of tokens, `at` the time of that level in seconds.
-- `size` is the highest level, `rate` the number of tokens that return in a second.
-- `in_part` takes what the bucket holds where that is less.
-- Return the seconds to wait as text. "0.000000" means that the script took the tokens.
-- Raise an error where Redis is out of memory, unless `allow_memory` was called before.
local function take_tokens(name, size, rate, points, in_part)
  size, rate, points = tonumber(size), tonumber(rate), tonumber(points)
  local time = redis.call('TIME')
  local now = time[1] + time[2] / 1000000
  local bucket = redis.call('HMGET', name, 'level', 'at')
  local level = tonumber(bucket[1]) or size
  level = math.min(size, level + math.max(0, now - (tonumber(bucket[2]) or now)) * rate)
  local wait = 0
  if level >= points or in_part then
    level = math.min(size, math.max(0, level - points))
  else
    wait = (points - level) / rate
  end
  redis.call('HSET', name, 'level', string.format('%.6f', level), 'at', string.format('%.6f', now))
  redis.call('PEXPIRE', name, math.ceil(size / rate * 1000) + 1000)
  return string.format('%.6f', wait)
end
