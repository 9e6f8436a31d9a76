"""Rules, alerts, dashboard and runbook: each by its own tool, and all of them by each other."""
