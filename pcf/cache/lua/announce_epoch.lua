-- Remember that a process is about to begin an epoch, so that open_epoch.lua notices a loss of data
-- meanwhile. ARGV: see AnnounceEpochArguments.
local prefix, nonce, ttl = unpack(ARGV)
redis.call('SET', prefix .. ':o:' .. nonce, KEYS[1], 'EX', ttl)
