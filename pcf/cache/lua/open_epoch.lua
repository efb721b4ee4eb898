-- Begin an epoch, unless Redis has lost data since the process announced it.
--
-- ARGV: see OpenEpochArguments. Return 1, or 0 after a loss. What was looked up before the epoch is
-- not stored in it: the clock of the look-up is earlier than the generation of everything.
local prefix, generation_ttl, nonce, ttl = unpack(ARGV)
local run_id, announced = KEYS[1], prefix .. ':o:' .. nonce
if redis.call('GET', announced) ~= run_id then
  return 0
end
redis.call('UNLINK', announced)
if redis.call('GET', prefix .. ':epoch') ~= run_id then
  local clock = advance_clock(prefix, redis.call('TIME'), generation_ttl)
  redis.call('SET', prefix .. ':g:!', clock, 'EX', generation_ttl)
end
redis.call('SET', prefix .. ':epoch', run_id, 'EX', ttl)
return 1
