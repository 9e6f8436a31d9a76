"""What operating it at size asks for."""

from db.migrations import run_files

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_files("0005_operations")
