"""Tests under faults: servers that can be broken, a load that checks its answers, a report."""
