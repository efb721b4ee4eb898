-- Remember the position of a viewer's last write. ARGV: see RememberPositionArguments.
local prefix, generation_ttl, viewer, position = unpack(ARGV)
local name = prefix .. ':w:v:' .. viewer
local known = redis.call('GET', name)
if known and tonumber(known) > tonumber(position) then
  position = known
end
return redis.call('SET', name, position, 'EX', generation_ttl)
