-- Return the clock before the first write that a replica at `position` has not replayed; '' when the
-- replica has replayed every write; false when Redis does not know. ARGV: see ClockOfArguments.
local prefix, position, most = unpack(ARGV)
local log = prefix .. ':w:log'
local floor = redis.call('GET', prefix .. ':w:floor')
if not floor or tonumber(floor) > tonumber(position) then
  return false
end
local first = redis.call('ZRANGEBYSCORE', log, '(' .. position, '+inf', 'LIMIT', 0, 1)[1]
if not first then
  return ''
end
-- a full log has lost writes before its first one
if redis.call('ZRANK', log, first) == 0 and redis.call('ZCARD', log) >= tonumber(most) then
  return false
end
return first
