"""Everything that someone outside talks to: keys, audit, erasure, the views of other outboxes."""

from db.migrations import run_files

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run_files("0004_doors")
