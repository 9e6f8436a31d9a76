"""Every channel, and the rules of delivery."""

from db.migrations import run_files

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_files("0003_channels")
