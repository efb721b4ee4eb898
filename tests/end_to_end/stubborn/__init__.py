"""A service whose fields do what no field should: compute, sleep and answer without end."""
