"""The workers: stream → claim → attempt → settle, one runner for all channels and a module for each."""
