"""What lets the relay pass over old partitions, and a switch for producers with two-phase commit."""

from db.migrations import run_files

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_files("0002_floor")
