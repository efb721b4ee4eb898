-- Return PONG.
return redis.call('PING')
