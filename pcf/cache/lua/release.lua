-- After a COMMIT, or after it failed: release the names that the transaction blocks.
--
-- ARGV: see ReleaseArguments. Return 1, or 0 when Redis lost the block or another process released it.
local prefix, generation_ttl, transaction = unpack(ARGV)
allow_memory(prefix)
local now = redis.call('TIME')
local blocked = prefix .. ':t:' .. transaction
local names = redis.call('GET', blocked)
redis.call('ZREM', prefix .. ':marked', transaction)
if not names then
  return 0
end
local clock = advance_clock(prefix, now, generation_ttl)
for name in string.gmatch(names, '[^\n]+') do
  local transactions = prefix .. ':m:' .. name
  redis.call('SREM', transactions, transaction)
  if redis.call('EXISTS', transactions) == 0 then  -- no other transaction blocks the name
    redis.call('SET', prefix .. ':g:' .. name, clock, 'EX', generation_ttl)
  end
end
redis.call('UNLINK', blocked)
return 1
