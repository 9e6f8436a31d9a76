"""The whole service under load and in trouble, watched by a real Prometheus: does every query of rules and dashboard
answer, and what does the dashboard look like?"""
