"""Django database engine: PostgreSQL under the request's deadline."""
