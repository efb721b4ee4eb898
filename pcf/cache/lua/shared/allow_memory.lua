-- Let the rest of the script use memory, also where Redis is at its limit. Redis refuses only the
-- first command that writes, and it never refuses UNLINK.
local function allow_memory(prefix)
  redis.call('UNLINK', prefix .. ':none')
end
