"""Documents: GraphQL texts, from their first byte to a valid document with a known cost."""
