"""The coherence run: random queries and writes against a real service (see ``__main__``)."""
