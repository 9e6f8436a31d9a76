"""A deploy under load: the schema is migrated and every process replaced, one by one, while clients and producers work.
What did they notice? `make rollout`."""
