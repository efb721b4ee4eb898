"""Notes, and their links to users and tags."""
