-- Return the floor, the position of the viewer's last write, and the position of the newest write;
-- false for each that Redis does not know. ARGV: see NeededPositionArguments.
local prefix, viewer = unpack(ARGV)
local newest = redis.call('ZREVRANGE', prefix .. ':w:log', 0, 0, 'WITHSCORES')
return {
  redis.call('GET', prefix .. ':w:floor'),
  redis.call('GET', prefix .. ':w:v:' .. viewer),
  newest[2] or false,
}
