"""The table of docs/channels.md, played row by row with a worker against the doubles."""
