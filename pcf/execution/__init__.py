"""Execution: plans and their executor, loaders, edges, and what mutations share."""
