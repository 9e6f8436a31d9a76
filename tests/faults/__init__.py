"""Faults at named points, in real processes."""
