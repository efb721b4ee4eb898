"""PCF and what would be used instead of it, on the same data, in one run (make bench-peers)."""
