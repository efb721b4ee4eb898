"""Faults on purpose: servers that can be broken, a load that checks its answers, a report."""
