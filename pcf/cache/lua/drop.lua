-- Remove entries, and lists of dependents with every entry in them, whenever it was stored.
--
-- ARGV: see DropArguments; then the keys. Return the number of entries removed.
local prefix = ARGV[1]
local first_key = 2
local removed = 0
for i = first_key, #ARGV do
  if string.sub(ARGV[i], #prefix + 1, #prefix + 3) == ':d:' then
    removed = removed + remove_dependents(ARGV[i])
  else
    removed = removed + redis.call('UNLINK', ARGV[i])
  end
end
return removed
