-- Record the position of a write in the log, before the write is delivered.
--
-- ARGV: see RecordPositionArguments.
-- The log keeps positions in the order of clocks. A position that is too high is safe.
local prefix, generation_ttl, position, most = unpack(ARGV)
local log = prefix .. ':w:log'
local clock = redis.call('GET', prefix .. ':seq') or '0'
local newest = redis.call('ZREVRANGE', log, 0, 0, 'WITHSCORES')
if newest[2] and tonumber(newest[2]) > tonumber(position) then
  position = newest[2]
end
redis.call('ZADD', log, position, clock)
redis.call('ZREMRANGEBYRANK', log, 0, -1 - tonumber(most))
redis.call('EXPIRE', log, generation_ttl)
return 1
