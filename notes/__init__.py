"""Notes, and everything that joins notes to users and tags."""
