"""Postgres: the schema's migrations, the pool, and every SQL statement by name."""
