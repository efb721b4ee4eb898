-- Remove a list of dependents and the entries in it. Return the number of entries removed.
-- The entries go with their list: a write finds an entry by its lists alone.
local function remove_dependents(list)
  local entries = redis.call('ZRANGE', list, 0, -1)
  local removed = 0
  for first = 1, #entries, 1000 do  -- unpack() has a limit
    local last = math.min(first + 999, #entries)
    removed = removed + redis.call('UNLINK', unpack(entries, first, last))
  end
  redis.call('UNLINK', list)
  return removed
end
