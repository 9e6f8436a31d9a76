"""Outbox rows → Redis Streams, exactly once. docs/architecture.md names the invariants that this code keeps."""
