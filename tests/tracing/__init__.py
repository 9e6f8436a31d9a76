"""Traces across processes, on a collector that speaks OTLP over HTTP."""
