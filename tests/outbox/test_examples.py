"""The examples run as they stand, and leave exactly what they say."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from db.pool import Connection
from tests.conftest import Database

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("name", ["psycopg_order", "sqlalchemy_order", "django_order"])
async def test_it_leaves_one_order_and_one_notification(
    name: str, database: Database, admin: Connection
) -> None:
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, str(EXAMPLES / f"{name}.py")],
        env={"DATABASE_URL": database.admin, "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "committed: order 1" in done.stdout
    assert "rolled back: neither order 2" in done.stdout
    rows = await admin.fetch(
        "SELECT o.id, n.dedup_key FROM public.example_orders o, notify.notifications n, notify.outbox l"
        " WHERE l.notification_id = n.id"
    )
    assert [tuple(row) for row in rows] == [(1, "order:1:paid")]
