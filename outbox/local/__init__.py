"""Real PostgreSQL and Redis/Valkey on this machine, out of wheels: for `outbox up` and the tests."""
