"""Faults against real processes, and an audit from the outside (`make chaos`)."""
