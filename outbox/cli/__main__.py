"""`python -m outbox.cli`: how `outbox up` starts its processes, whatever is on PATH."""

from outbox.cli import app

app()
