-- Set the floor, unless there is one. ARGV: see SetFloorArguments.
local prefix, generation_ttl, position = unpack(ARGV)
return redis.call('SET', prefix .. ':w:floor', position, 'EX', generation_ttl, 'NX')
