-- Before a COMMIT: remove what depends on names, and block the names until release.lua runs.
--
-- ARGV: see BlockArguments; then the names. Return the number of entries removed.
-- The generation of a blocked name is later than any clock, so the fence refuses what depends on it.
local prefix, generation_ttl, transaction = unpack(ARGV, 1, 3)
local first_name = 4
allow_memory(prefix)
local now = redis.call('TIME')
local removed = 0
for i = first_name, #ARGV do
  removed = removed + remove_dependents(prefix .. ':d:' .. ARGV[i])
end
for i = first_name, #ARGV do
  local transactions = prefix .. ':m:' .. ARGV[i]
  redis.call('SADD', transactions, transaction)
  redis.call('EXPIRE', transactions, generation_ttl)
  redis.call('SET', prefix .. ':g:' .. ARGV[i], '99999999999999999999', 'EX', generation_ttl)
end
redis.call('ZADD', prefix .. ':marked', now[1], transaction)
redis.call('EXPIRE', prefix .. ':marked', generation_ttl)
local names = table.concat(ARGV, '\n', first_name)
redis.call('SET', prefix .. ':t:' .. transaction, names, 'EX', generation_ttl)
return removed
