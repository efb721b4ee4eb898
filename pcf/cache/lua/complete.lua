-- End a flight whose leader stored no entry. ARGV: see CompleteArguments.
local prefix, name, flight, outcome = unpack(ARGV)
complete_flight(prefix, name, flight, outcome)
