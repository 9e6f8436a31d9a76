"""An erasure leaves nothing of a person: every column, every key of Redis, every log is searched."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from db.pool import Pool
from outbox.erasure import eraser as erasing
from outbox.erasure.eraser import Eraser
from outbox.tokens import Identity, Via
from tests.db.personal import PERSONAL
from tests.outbox.erasure.conftest import ADA, MARK, OTHER, PHONE, History, carry_out

OPS = Identity("ops", frozenset({"admin"}), datetime.now(UTC) + timedelta(hours=1), Via.TOKEN)


async def erase(eraser: Eraser, pool: Pool, *addresses: str) -> None:
    async with pool.acquire() as conn, conn.transaction():
        await erasing.request(conn, eraser.settings, OPS, ADA, list(addresses))
    await carry_out(eraser)


async def test_nothing_is_left(history: History, eraser: Eraser, pool: Pool) -> None:
    await history.in_every_table()
    await history.in_every_stream()
    unfinished = {(table, name) for table, names in PERSONAL.items() if table != "erasures" for name in names}
    # Words that a rule of the schema allows no mark in.
    unfinished -= {("notifications", "traceparent"), ("outbox", "traceparent"), ("recipients", "locale")}
    assert unfinished - await history.found() == set(), "the search finds what is there"
    assert len(await history.in_redis()) == 15

    with capture_logs() as logs:
        await erase(eraser, pool)

    assert await history.found() == set()
    assert await history.in_redis() == []
    assert MARK not in repr(logs)
    assert PHONE not in repr(logs)


async def test_others_keep_what_is_theirs(history: History, eraser: Eraser, pool: Pool) -> None:
    await history.in_every_table()
    await history.in_every_stream()
    await history.notify(OTHER, channel="email")
    await erase(eraser, pool)
    rows = await history.admin.fetch("SELECT user_id, actor_user_id FROM notify.notifications")
    assert [tuple(row) for row in rows] == [(OTHER, None)] * 2
    rows = await history.admin.fetch("SELECT user_id, actor_user_id FROM notify.outbox")
    assert [tuple(row) for row in rows] == [(OTHER, None)] * 2
    for channel in ("inapp", "sms"):
        entries: Any = await history.redis.xrange(history.settings.keys.stream(channel))
        assert [json.loads(fields[b"envelope"])["user_id"] for _, fields in entries] == [OTHER]


async def test_the_receipt_counts_and_names_nobody(history: History, eraser: Eraser, pool: Pool) -> None:
    await history.in_every_table()
    await history.in_every_stream()
    await erase(eraser, pool)
    row = await history.admin.fetchrow("SELECT * FROM notify.erasures")
    assert row is not None
    assert (row["user_id"], row["addresses"], row["finished_at"] is None) == (None, None, False)
    erased = json.loads(row["erased"])
    assert (erased["notifications"], erased["deliveries"], erased["suppressions"]) == (
        2,
        5,
        2,
    )  # and a digest
    assert (erased["outbox"], erased["actor_user_id"], erased["stream_entries"]) == (1, 2, 45)
    acts = await history.admin.fetch("SELECT actor, action, target FROM notify.audit_log ORDER BY id")
    assert [tuple(act) for act in acts] == [
        (row["subject"], "channel.change", "email"),
        ("ops", "user.erase", row["subject"]),
    ]


async def test_the_server_s_own_log_holds_nothing(history: History, eraser: Eraser, pool: Pool) -> None:
    """Postgres quotes rows where a statement fails; none of an erasure's does."""
    folder = Path(await history.admin.fetchval("SHOW data_directory"))
    log = folder.parent / "postgres.log"
    if not log.exists():
        pytest.skip("the server is not this run's own: its log is elsewhere")
    await history.in_every_table()
    begins = log.stat().st_size
    await erase(eraser, pool)
    with log.open("rb") as lines:
        lines.seek(begins)
        assert MARK.encode() not in lines.read()
