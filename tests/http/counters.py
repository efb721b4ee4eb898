"""The counters of Prometheus, read by its documented interface."""

from prometheus_client import REGISTRY


def count_refusals(limit: str) -> float:
    """Return how many requests went beyond ``limit`` so far."""
    return REGISTRY.get_sample_value("graphql_limit_refusals_total", {"limit": limit}) or 0.0
