-- Extend the lease of a flight, if the flight still has it. ARGV: see RenewArguments.
local prefix, name, id, lease_ms = unpack(ARGV)
local flight = prefix .. ':f:' .. name
if redis.call('GET', flight) == id then
  redis.call('PEXPIRE', flight, lease_ms)
end
