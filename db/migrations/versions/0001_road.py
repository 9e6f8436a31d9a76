"""The road: tables, roles, the outbox log and its triggers."""

from db.migrations import run_files

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_files("0001_road")
