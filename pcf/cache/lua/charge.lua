-- Take tokens from a client's bucket. Return the seconds to wait as text, "0.000000" for none.
-- ARGV: see ChargeArguments.
local prefix, client, size, rate, points, in_part = unpack(ARGV)
allow_memory(prefix)
return take_tokens(prefix .. ':r:' .. client, size, rate, points, in_part == '1')
