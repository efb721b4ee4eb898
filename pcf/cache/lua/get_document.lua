-- Return the text of a persisted document, or false. Keep the document for `ttl` seconds from now.
-- ARGV: see GetDocumentArguments.
local prefix, digest, ttl = unpack(ARGV)
local document, index = prefix .. ':p:' .. digest, prefix .. ':p'
local text = redis.call('GET', document)
if text then
  local time = redis.call('TIME')
  local now = time[1] .. '.' .. string.format('%06d', time[2])
  redis.call('EXPIRE', document, ttl)
  redis.call('ZADD', index, 'XX', now, digest .. ':' .. #text)
  redis.call('EXPIRE', index, ttl)
  redis.call('EXPIRE', prefix .. ':p#', ttl)
end
return text
