"""The engine: batching, response caching, deadlines, pool and metrics as one system."""
