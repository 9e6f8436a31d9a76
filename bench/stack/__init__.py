"""The compose stack under load: each container killed in turn, or all restarted one by one; then an audit."""
