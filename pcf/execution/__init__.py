"""Execution: promises, loaders, edges, and the executor that lets any resolver return a promise."""
