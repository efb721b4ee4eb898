-- Keep the text of a persisted document for `ttl` seconds. Return the number of documents that were
-- removed because there were more than `most`, or more than `most_bytes` bytes: those that no client
-- has used for the longest time. Return -1 when the client has registered enough.
-- ARGV: see PutDocumentArguments.
local prefix, digest, ttl, text, most, most_bytes, client, client_bytes = unpack(ARGV)
local index, total = prefix .. ':p', prefix .. ':p#'
local document, member = prefix .. ':p:' .. digest, digest .. ':' .. #text
local time = redis.call('TIME')

local function forget(found)  -- a member is the digest and the bytes of a document
  local name, bytes = string.match(found, '^(%x+):(%d+)$')
  redis.call('UNLINK', prefix .. ':p:' .. name)
  redis.call('DECRBY', total, bytes)
end

if not redis.call('ZSCORE', index, member) then
  local bucket = prefix .. ':p#:' .. client
  if tonumber(take_tokens(bucket, client_bytes, client_bytes / ttl, #text)) > 0 then
    return -1
  end
  redis.call('INCRBY', total, #text)
end
redis.call('SET', document, text, 'EX', ttl)
redis.call('ZADD', index, time[1] .. '.' .. string.format('%06d', time[2]), member)
redis.call('EXPIRE', index, ttl)
redis.call('EXPIRE', total, ttl)
local expired = string.format('(%d', time[1] - ttl)
for _, found in ipairs(redis.call('ZRANGEBYSCORE', index, '-inf', expired)) do
  forget(found)
end
redis.call('ZREMRANGEBYSCORE', index, '-inf', expired)
local removed = 0
while redis.call('ZCARD', index) > tonumber(most)
    or tonumber(redis.call('GET', total)) > tonumber(most_bytes) do
  local oldest = redis.call('ZPOPMIN', index)[1]
  if not oldest then
    break
  end
  forget(oldest)
  removed = removed + 1
end
return removed
