"""All five channels against doubles that fail, and an audit of what the timelines say about it."""
