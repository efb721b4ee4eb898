-- Return the transactions that have blocked names for at least `seconds`. ARGV: see BlockedArguments.
local prefix, seconds = unpack(ARGV)
local now = redis.call('TIME')
return redis.call('ZRANGEBYSCORE', prefix .. ':marked', '-inf', now[1] - tonumber(seconds))
