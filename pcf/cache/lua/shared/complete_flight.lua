-- End the flight `id` for the entry `name`: the next request that misses may lead a new flight.
-- Push `outcome` to the list that the waiting requests read. Without an `id` there is no flight.
local function complete_flight(prefix, name, id, outcome)
  if id == '' then
    return
  end
  local flight = prefix .. ':f:' .. name
  if redis.call('GET', flight) == id then
    redis.call('UNLINK', flight)
  end
  if redis.call('UNLINK', prefix .. ':n:' .. id) == 1 then  -- some requests wait
    local outcomes = prefix .. ':l:' .. id
    redis.call('RPUSH', outcomes, outcome)
    redis.call('PEXPIRE', outcomes, 10000)
  end
end
