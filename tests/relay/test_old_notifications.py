"""The leader takes old notifications away, round by round; nothing of them comes back, whatever Redis forgets."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from db.pool import OUTAGES, Connection
from db.retention import BEGINNING, Place, Purge
from outbox.inbox import InboxChange
from outbox.nodes import Nodes
from outbox.settings import Settings
from relay.lead import Lead
from relay.main import build
from relay.retention import ROUND_SECONDS, ROWS, Retention, Round, behind
from tests.db.old import DAYS, KEEP, LETTER, left, old
from tests.hints import hints
from tests.relay.conftest import Reader, relaying

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PURGED = "outbox_relay_purged_rows_total"
BEHIND = "outbox_relay_purge_behind_seconds"


def place(days: float) -> Place:
    return Place(NOW - days * DAYS, UUID(int=7))


def found(looked: int, last: Place | None, stayed: Place | None = None) -> Purge:
    return Purge(NOW - KEEP, looked, last, stayed, {}, [])


def test_a_round_goes_on_where_it_was() -> None:
    begun = Round(0)
    assert begun.place == BEGINNING
    further = begun.after(found(ROWS, place(50), place(60))).after(found(ROWS, place(40), place(45)))
    assert (further.place, further.stayed, further.front) == (place(40), place(60), place(40))
    assert further.after(found(0, None)) == further


def test_the_next_one_begins_with_the_first_that_stayed() -> None:
    begun = Round(0).after(found(ROWS, place(40), place(60)))
    again = begun.anew(ROUND_SECONDS)
    assert again.place < place(60), "which is looked at again itself"
    assert again.place > place(60.001)
    assert (again.stayed, again.front) == (None, place(40))
    assert Round(0).after(found(3, place(40))).anew(1).place == place(40), "not with what is gone"


def test_how_far_it_is_behind() -> None:
    """What stays is old, and is no arrear: only what nobody has looked at yet is one."""
    full, last = found(ROWS, place(40)), found(ROWS - 1, place(40))
    far = Round(0, front=place(40))
    assert behind(far, full) == timedelta(days=10).total_seconds()
    assert behind(far, last) == 0
    again = far.after(found(9, place(31))).anew(1).after(found(ROWS, place(60)))
    assert behind(again, full) == timedelta(days=1).total_seconds()


@pytest.fixture
async def retention(settings: Settings, nodes: Nodes) -> Any:
    lead = Lead("me", 10)
    lead.epoch = 1
    retention = Retention(lead, nodes, settings, KEEP)
    yield retention
    await retention.stop()


async def test_step_by_step_until_there_is_no_more(
    retention: Retention, admin: Connection, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.retention.ROWS", 2)
    for _ in range(5):
        await old(admin)
    before = counted("notifications")
    rests = [await retention.step() for _ in range(3)]
    assert [rest < 60 for rest in rests] == [True, True, False], "it goes on while there is more"
    assert await left(admin) == set()
    assert counted("notifications") - before == 5
    assert REGISTRY.get_sample_value(BEHIND) == 0


def counted(table: str) -> float:
    return REGISTRY.get_sample_value(PURGED, {"table": table}) or 0


async def test_a_standby_takes_nothing(retention: Retention, admin: Connection) -> None:
    one = await old(admin)
    retention.lead.epoch = None
    await retention.step()
    assert await left(admin) == {one}


async def test_what_stayed_is_looked_at_again(retention: Retention, admin: Connection, redis: Any) -> None:
    stays, _ = await old(admin, status="failed"), await old(admin)
    await admin.execute(LETTER, stays)
    await retention.step()
    await admin.execute("SELECT notify.discard(ARRAY(SELECT id FROM notify.notifications_failed))")
    await retention.step()
    assert await left(admin) == {stays}, "it has gone past it"
    assert retention.round is not None
    retention.round = replace(retention.round, begun_at=monotonic() - ROUND_SECONDS)
    await retention.step()
    await retention.step()
    assert await left(admin) == set()


async def test_open_sockets_are_told(
    retention: Retention, admin: Connection, settings: Settings, redis: Any
) -> None:
    for seq in (1, 2):
        one = await old(admin, "inapp")
        await admin.execute(
            "INSERT INTO notify.inbox (user_id, seq, notification_id) VALUES ('ada', $1, $2)", seq, one
        )
    await admin.execute("INSERT INTO notify.inbox_counters VALUES ('ada', 9, 4, 20)")
    async with hints(settings.redis, settings.keys.user("ada")) as heard, asyncio.timeout(20):
        await retention.step()
        change = InboxChange.model_validate_json(await heard())
    assert change == InboxChange(version=21, last_seq=9, unread=2, archived=[1, 2])


async def test_without_redis_it_goes_on(retention: Retention, admin: Connection) -> None:
    one = await old(admin, "inapp")
    await admin.execute("INSERT INTO notify.inbox (user_id, seq, notification_id) VALUES ('ada', 1, $1)", one)
    await admin.execute("INSERT INTO notify.inbox_counters VALUES ('ada', 1, 1, 1)")
    nodes, retention.nodes = retention.nodes, Nodes("redis://127.0.0.1:1/0")
    with capture_logs() as logs:
        await retention.step()
    assert [entry["event"] for entry in logs] == ["inbox.publish_failed"]
    assert await left(admin) == set()
    await retention.nodes.aclose()
    retention.nodes = nodes


async def test_a_missing_index_is_said_and_waited_for(retention: Retention, admin: Connection) -> None:
    await old(admin)
    await admin.execute("DROP INDEX notify.notifications_created_at")
    retention.looked_at -= 100_000
    with capture_logs() as logs:
        assert await retention.step() >= 600
    assert "outbox migrate" in logs[0]["reason"]
    assert (REGISTRY.get_sample_value(BEHIND) or 0) >= 100_000, "nobody knows how late, only for how long"


async def test_one_look_that_fails_takes_nothing_of_how_late_it_is(
    retention: Retention, admin: Connection, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.retention.ROWS", 1)
    for _ in range(3):
        await old(admin)
    await retention.step()
    late = REGISTRY.get_sample_value(BEHIND) or 0
    assert late > 86_400, "there is more, and it is old"

    async def refused(*_: Any) -> Any:
        raise asyncpg.LockNotAvailableError("canceling statement due to lock timeout")

    monkeypatch.setattr("relay.retention.sql.purge", refused)
    await retention.step()
    assert (REGISTRY.get_sample_value(BEHIND) or 0) >= late


async def test_what_never_comes_to_an_end_is_late(
    retention: Retention, admin: Connection, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await old(admin)
    retention.looked_at -= 100_000

    async def too_long(*_: Any) -> Any:
        raise asyncpg.QueryCanceledError("canceling statement due to statement timeout")

    with monkeypatch.context() as slow:
        slow.setattr("relay.retention.sql.purge", too_long)
        await retention.step()
    assert (REGISTRY.get_sample_value(BEHIND) or 0) >= 100_000
    await retention.step()
    assert REGISTRY.get_sample_value(BEHIND) == 0


async def test_a_lost_connection_is_replaced(retention: Retention, admin: Connection, redis: Any) -> None:
    await old(admin)
    conn = await retention.connected()
    await admin.execute("SELECT pg_terminate_backend($1)", conn.get_server_pid())
    with pytest.raises(OUTAGES):
        await retention.step()
    await retention.step()
    assert await left(admin) == set()


async def test_a_flush_brings_nothing_back(
    settings: Settings, nodes: Nodes, producer: Connection, admin: Connection, reader: Reader
) -> None:
    """The log still has their rows, as a partition goes as a whole, and nothing tells that they were settled."""
    insert = "INSERT INTO notify.outbox (event_type, user_id) VALUES ('a', $1)"
    for user in ("old", "open"):
        await producer.execute(insert, user)
    relay = build(settings, nodes)
    while await relay.step() == 0:
        pass
    assert await reader.users() == ["old", "open"]
    await admin.execute(
        "UPDATE notify.notifications SET created_at = created_at - interval '40 days' WHERE user_id = 'old';"
        " INSERT INTO notify.deliveries (notification_id, channel, status, attempts_allowed, settled_at)"
        " SELECT id, 'inapp', 'delivered', 8, created_at FROM notify.notifications WHERE user_id = 'old'"
    )
    retention = Retention(relay.lead, nodes, settings, KEEP)
    await retention.step()
    assert await admin.fetchval("SELECT count(*) FROM notify.notifications") == 1
    assert await admin.fetchval("SELECT count(*) FROM notify.outbox") == 2
    await reader.redis.flushdb()
    await producer.execute(insert, "new")
    assert await relay.verify(), "it has noticed"
    while await relay.step() == 0:
        pass
    assert await reader.users() == ["open", "new"]
    await retention.stop()
    await relay.stop()


async def test_a_relay_does_it_if_it_is_told_to(
    settings: Settings, admin: Connection, reader: Reader
) -> None:
    one = await old(admin)
    async with relaying(settings):
        await reader.until_users(["ada"], "email")
        assert await left(admin) == {one}
    async with relaying(settings.model_copy(update={"notification_retention": KEEP})):

        async def gone(_: Reader) -> bool:
            return await left(admin) == set()

        await reader.until(gone)
