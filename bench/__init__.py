"""Benchmarks and fault runs, each re-runnable with one command."""
