-- Return the number of keys, the reply to INFO memory, and the hits and misses of each of the last
-- 24 hours, the latest hour first. ARGV: see OverviewArguments.
local prefix = unpack(ARGV)
local found = {redis.call('DBSIZE'), redis.call('INFO', 'memory')}
local hour = math.floor(redis.call('TIME')[1] / 3600)
for back = 0, 23 do
  found[#found + 1] = redis.call('HMGET', prefix .. ':s:' .. (hour - back), 'hits', 'misses')
end
return found
