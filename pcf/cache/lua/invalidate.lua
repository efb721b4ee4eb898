-- Remove what depends on names, and advance their generations. Return the number of entries removed.
--
-- ARGV: see InvalidateArguments; then the names.
-- A name that a transaction blocks keeps its generation: release.lua advances it.
local prefix, generation_ttl = unpack(ARGV, 1, 2)
local first_name = 3
allow_memory(prefix)
local now = redis.call('TIME')
local removed = 0
for i = first_name, #ARGV do
  removed = removed + remove_dependents(prefix .. ':d:' .. ARGV[i])
end
local clock = advance_clock(prefix, now, generation_ttl)
for i = first_name, #ARGV do
  if redis.call('EXISTS', prefix .. ':m:' .. ARGV[i]) == 0 then
    redis.call('SET', prefix .. ':g:' .. ARGV[i], clock, 'EX', generation_ttl)
  end
end
return removed
