"""The comparison of PCF with its peers on the same data, in one run (make bench-peers)."""
