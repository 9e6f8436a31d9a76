"""The relay on real Postgres and Redis: what commits appears once in each of its streams, and nothing else does."""

import asyncio
import json
import secrets
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from prometheus_client import REGISTRY

from db import relay as sql
from db.pool import Connection, Pool, connect
from outbox.envelope import Envelope, from_entry
from outbox.nodes import Nodes
from outbox.settings import Settings
from relay import look, rebase
from relay.ledger import AnotherHistoryError
from relay.main import build
from relay.relay import BY_INDEX
from tests.conftest import Database, cut_off
from tests.relay.conftest import Reader, relaying

INSERT = "INSERT INTO notify.outbox (event_type, user_id, channels) VALUES ('order.paid', $1, $2)"
INAPP = "INSERT INTO notify.outbox (event_type, user_id) VALUES ('order.paid', $1)"
RETRY = """
INSERT INTO notify.scheduled (due_at, notification_id, channels, attempt, reason)
SELECT clock_timestamp(), id, '{inapp}', 1, 'retry' FROM notify.notifications WHERE user_id = 'first'
"""
MANY = (
    "INSERT INTO notify.outbox (event_type, user_id) SELECT 'a', $1 || i FROM generate_series(1, $2::int) i"
)


async def test_a_committed_row_appears_in_each_of_its_streams(
    settings: Settings, producer: Connection, reader: Reader
) -> None:
    async with relaying(settings):
        await producer.execute(INSERT, "alice", ["inapp", "email"])
        await reader.until_users(["alice"])
        await reader.until_users(["alice"], "email")
        assert await reader.entries("email") == await reader.entries("inapp"), "under one id"


async def test_p1_a_rolled_back_row_and_a_rolled_back_savepoint_never_appear(
    settings: Settings, producer: Connection, reader: Reader, admin: Connection
) -> None:
    async with relaying(settings):
        transaction = producer.transaction()
        await transaction.start()
        await producer.execute(INAPP, "rolled back")
        await transaction.rollback()
        async with producer.transaction():
            await producer.execute(INAPP, "before the savepoint")
            savepoint = producer.transaction()
            await savepoint.start()
            await producer.execute(INAPP, "in the savepoint")
            await savepoint.rollback()
            await producer.execute(INAPP, "behind the savepoint")
        await reader.until_users(["before the savepoint", "behind the savepoint"])
    assert await admin.fetchval("SELECT count(*) FROM notify.notifications") == 2


@pytest.mark.parametrize("isolation", ["read_committed", "repeatable_read", "serializable"])
async def test_p2_a_late_commit_is_neither_skipped_nor_does_it_hold_up_others(
    settings: Settings, database: Database, producer: Connection, reader: Reader, isolation: Any
) -> None:
    late = await asyncpg.connect(database.producer)
    async with relaying(settings):
        transaction = late.transaction(isolation=isolation)
        await transaction.start()
        await late.execute(INAPP, "late, with the lower id")
        await producer.execute(INAPP, "early")
        await reader.until_users(["early"])
        await producer.execute(INAPP, "second")
        await reader.until_users(["early", "second"])
        await transaction.commit()
        await reader.until_users(["early", "second", "late, with the lower id"])
    await late.close()


async def test_p4_one_connections_order_is_kept_under_concurrency(
    settings: Settings, database: Database, reader: Reader
) -> None:
    async def produce(name: str) -> None:
        connection = await asyncpg.connect(database.producer)
        for number in range(50):
            await connection.execute(INAPP, f"{name}:{number}")
        await connection.close()

    async with relaying(settings):
        await asyncio.gather(*(produce(f"p{n}") for n in range(6)))

        async def all_there(reader: Reader) -> bool:
            return len(await reader.users()) == 300

        await reader.until(all_there)
    seen = [user.split(":") for user in await reader.users()]
    for name in {name for name, _ in seen}:
        assert [int(number) for other, number in seen if other == name] == list(range(50))


async def test_a_backlog_is_cut_into_ticks_and_a_big_transaction_is_one(
    settings: Settings,
    producer: Connection,
    admin: Connection,
    reader: Reader,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("relay.look", "relay.catch_up"):
        monkeypatch.setattr(f"{module}.TICK_ROWS", 20)
    monkeypatch.setattr("relay.quick.QUICK_ROWS", 2)
    for number in range(7):
        await producer.execute(MANY, f"{number}-", 8)
    await producer.execute(MANY, "big-", 90)
    await producer.execute(MANY, "after-", 3)
    expected = [f"{n}-{i}" for n in range(7) for i in range(1, 9)]
    expected += [f"big-{i}" for i in range(1, 91)] + [f"after-{i}" for i in range(1, 4)]
    async with relaying(settings):
        await reader.until_users(expected)
        ticks = await admin.fetch("SELECT rows, solo FROM notify.relay_ticks ORDER BY no")
        assert [t["rows"] for t in ticks if t["solo"] is None] == [16, 16, 16, 8, 3]
        assert sum(t["solo"] is not None for t in ticks) == 1
        before = await reader.entries()
        await reader.redis.flushdb()
        await reader.until_users(expected)
        assert await reader.entries() == before, "a refill gives the same ids"


def created(channel: str) -> float:
    return REGISTRY.get_sample_value("notifications_created_total", {"channel": channel}) or 0


async def test_what_is_scheduled_comes_when_due_and_wakes_the_relay(
    settings: Settings, producer: Connection, reader: Reader, admin: Connection
) -> None:
    later = (
        "INSERT INTO notify.outbox (event_type, user_id, channels, deliver_at)"
        " VALUES ('a', $1, '{inapp,email}', clock_timestamp() + make_interval(secs => $2))"
    )
    before = created("inapp")
    async with relaying(settings.model_copy(update={"relay_poll": 60})):
        await producer.execute(later, "second", 0.6)
        await producer.execute(later, "first", 0.3)
        assert await reader.users() == []
        await reader.until_users(["first", "second"])
        await reader.until_users(["first", "second"], "email")
        assert created("inapp") == before + 2
        await admin.execute(RETRY)
        await reader.until_users(["first", "second", "first"])
    assert created("inapp") == before + 2, "a retry was created before"
    assert await admin.fetchval("SELECT count(*) FROM notify.scheduled") == 0
    assert await admin.fetchval("SELECT count(*) FROM notify.notifications") == 2


async def test_p3_a_flushed_redis_comes_back_under_the_same_ids_without_what_is_settled(
    settings: Settings, producer: Connection, reader: Reader, admin: Connection
) -> None:
    async with relaying(settings):
        for number in range(30):
            await producer.execute(INSERT, f"u{number}", ["inapp", "email"])
        await reader.until_users([f"u{n}" for n in range(30)], "email")
        before = await reader.entries()
        await admin.execute(
            "INSERT INTO notify.deliveries (notification_id, channel, status, attempts, attempts_allowed)"
            " SELECT id, 'inapp', 'delivered', 1, 8 FROM notify.notifications WHERE user_id IN ('u3', 'u4')"
        )
        await reader.redis.flushdb()
        await reader.until_users([f"u{n}" for n in range(30) if n not in (3, 4)])
        await reader.until_users([f"u{n}" for n in range(30)], "email")
        after = await reader.entries()
        assert after == [entry for entry in before if entry[1].user_id not in ("u3", "u4")]
        await producer.execute(INAPP, "next")
        await reader.until(lambda r: ends_with(r, "next"))


async def ends_with(reader: Reader, user: str) -> bool:
    return (await reader.users())[-1:] == [user]


async def test_p3_a_lost_tail_is_put_back(settings: Settings, producer: Connection, reader: Reader) -> None:
    stream = settings.keys.stream("inapp")
    async with relaying(settings):
        for number in range(10):
            await producer.execute(INAPP, f"u{number}")
        await reader.until_users([f"u{n}" for n in range(10)])
        dump = await reader.redis.dump(stream)
        for number in range(10, 20):
            await producer.execute(INAPP, f"u{number}")
        await reader.until_users([f"u{n}" for n in range(20)])
        before = await reader.entries()
        assert dump
        await reader.redis.restore(stream, 0, dump, replace=True)  # a failover that lost the last writes
        await reader.until_users([f"u{n}" for n in range(20)])
        assert await reader.entries() == before


async def test_an_entry_from_outside_does_not_swallow_ours(
    settings: Settings, producer: Connection, reader: Reader
) -> None:
    stream = settings.keys.stream("inapp")
    async with relaying(settings):
        await producer.execute(INAPP, "ours")
        await reader.until_users(["ours"])
        await reader.redis.xadd(stream, {"foreign": "1"}, id="99999999999999-0")
        await producer.execute(INAPP, "ours too")
        await reader.until(lambda r: ours(r, stream))


async def test_an_entry_from_outside_does_not_hide_a_loss(
    settings: Settings, producer: Connection, reader: Reader
) -> None:
    stream = settings.keys.stream("inapp")
    async with relaying(settings):
        for number in range(3):
            await producer.execute(INAPP, f"u{number}")
        await producer.execute(INSERT, "elsewhere", ["email"])  # the last tick does not touch the stream
        await reader.until_users(["elsewhere"], "email")
        pipe = reader.redis.pipeline(transaction=True)
        pipe.delete(stream)
        pipe.xadd(stream, {"foreign": "1"})
        await pipe.execute()
        await producer.execute(INAPP, "later")
        await reader.until(lambda r: all_of(r, stream, ["u0", "u1", "u2", "later"]))


async def all_of(reader: Reader, stream: str, users: list[str]) -> bool:
    fields = [fields for _, fields in await reader.raw(stream)]
    return [from_entry(f)[0].user_id for f in fields if b"envelope" in f] == users


async def test_another_prefix_is_a_new_redis(
    settings: Settings, producer: Connection, redis: Any, reader: Reader
) -> None:
    async with relaying(settings):
        await producer.execute(INAPP, "open")
        await reader.until_users(["open"])
    other = settings.model_copy(update={"redis_prefix": "moved:"})
    async with relaying(other):
        await Reader(redis, other).until_users(["open"])


async def test_a_database_with_another_history_is_refused_loudly(
    settings: Settings, producer: Connection, admin: Connection, reader: Reader, nodes: Nodes
) -> None:
    """Restored from a dump: its transaction ids begin below those that the ticks know."""
    relay = build(settings, nodes)
    await producer.execute(INAPP, "before")
    while await relay.step() == 0:
        pass
    await admin.execute("UPDATE notify.relay_ticks SET snapshot = '900000000:900000000:'")
    await relay.stop()
    restored = build(settings, nodes)
    await producer.execute(INAPP, "after")
    with pytest.raises(AnotherHistoryError):
        await restored.step()
    assert "outbox relay rebase" in (restored.check() or "")
    await restored.stop()
    await admin.execute("DELETE FROM notify.relay_lease")
    streams = restored.shipper.streams
    await rebase.carry_out(admin, streams, await rebase.plan(admin, streams, settings.keys))
    while await restored.step() == 0:
        pass
    assert restored.check() is None
    assert await reader.users() == ["before", "after"], "neither was settled"
    await restored.stop()


async def test_a_due_row_that_somebody_has_locked_does_not_make_the_relay_spin(
    settings: Settings, database: Database, producer: Connection, admin: Connection, nodes: Nodes
) -> None:
    await producer.execute(
        "INSERT INTO notify.outbox (event_type, user_id, deliver_at)"
        " VALUES ('a', 'later', clock_timestamp() + interval '0.05 s')"
    )
    transaction = admin.transaction()
    await transaction.start()
    await admin.execute("SELECT FROM notify.scheduled FOR UPDATE")
    await asyncio.sleep(0.1)  # until it is due
    relay = build(settings, nodes)
    pauses = [await relay.step() for _ in range(5)]
    assert all(pause > 0 for pause in pauses)
    await transaction.rollback()
    await asyncio.sleep(0.06)
    await relay.step()
    assert await admin.fetchval("SELECT count(*) FROM notify.scheduled") == 0
    await relay.stop()


@pytest.mark.parametrize("text", [secrets.token_hex(30_000), "x" * 60_000], ids=["noise", "compressible"])
async def test_a_tick_is_bounded_in_bytes(
    settings: Settings, producer: Connection, admin: Connection, reader: Reader, text: str
) -> None:
    """Of what goes to the relay and to Redis, however little room it takes in the table."""
    big = "INSERT INTO notify.outbox (event_type, user_id, payload) VALUES ('a', $1, $2)"
    payload = json.dumps({"x": text})
    users = [f"u{n}" for n in range(300)]
    await producer.executemany(big, [(user, payload) for user in users])  # one transaction
    for number in range(300):
        users.append(f"v{number}")
        await producer.execute(big, users[-1], payload)
    async with relaying(settings):
        await reader.until_users(users)
    ticks = await admin.fetch("SELECT solo, rows, bytes FROM notify.relay_ticks ORDER BY no")
    assert ticks[0]["solo"] is not None
    assert max(tick["bytes"] for tick in ticks) < look.TICK_BYTES + 70_000
    assert len(ticks) > 2
    assert sum(tick["rows"] for tick in ticks[1:]) == 300


async def ours(reader: Reader, stream: str) -> bool:
    fields = [fields for _, fields in await reader.raw(stream)]
    return [from_entry(f)[0].user_id for f in fields if b"envelope" in f] == ["ours", "ours too"]


async def test_p7_a_full_stream_holds_up_only_itself_and_catches_up(
    settings: Settings, producer: Connection, reader: Reader
) -> None:
    settings = settings.model_copy(update={"stream_max_length": 10})
    stream = settings.keys.stream("email")
    async with relaying(settings):
        for number in range(40):
            await producer.execute(INSERT, f"u{number}", ["email"] if number < 35 else ["email", "inapp"])
        await reader.until_users([f"u{n}" for n in range(35, 40)])
        seen: list[str] = []
        async with asyncio.timeout(60):
            while len(seen) < 40:
                raw = await reader.raw(stream)
                assert len(raw) <= 10
                for entry_id, fields in raw:
                    seen.append(from_entry(fields)[0].user_id)
                    await reader.redis.xdel(stream, entry_id)
                await asyncio.sleep(0.01)
        assert seen == [f"u{n}" for n in range(40)]


async def test_p7_a_key_that_is_no_stream_holds_up_only_itself(
    settings: Settings, producer: Connection, reader: Reader
) -> None:
    stream = settings.keys.stream("email")
    await reader.redis.set(stream, "somebody's own")
    async with relaying(settings):
        for number in range(3):
            await producer.execute(INSERT, f"u{number}", ["email", "inapp"])
        await reader.until_users(["u0", "u1", "u2"])
        await reader.redis.delete(stream)
        await reader.until_users(["u0", "u1", "u2"], "email")


async def test_p2_two_relays_that_both_believe_they_lead_put_in_nothing_twice(
    settings: Settings, database: Database, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def always(*_: object) -> bool:
        return True

    monkeypatch.setattr("relay.lead.Lead.held", always)

    async def produce(name: str) -> None:
        connection = await asyncpg.connect(database.producer)
        for number in range(60):
            await connection.execute(INAPP, f"{name}:{number}")
        await connection.close()

    async with relaying(settings), relaying(settings), relaying(settings):
        await asyncio.gather(*(produce(f"p{n}") for n in range(4)))

        async def complete(reader: Reader) -> bool:
            return len(set(await reader.users())) == 240

        await reader.until(complete)
    users = await reader.users()
    assert len(users) == 240, "none twice"


async def test_a_standby_takes_over_from_a_leader_that_stops(
    settings: Settings, producer: Connection, reader: Reader, admin: Connection
) -> None:
    async with relaying(settings):
        async with relaying(settings):
            await producer.execute(INAPP, "one")
            await reader.until_users(["one"])
            holders = await admin.fetchval("SELECT count(*) FROM notify.relay_lease")
            assert holders == 1
        await producer.execute(INAPP, "two")
        await reader.until_users(["one", "two"])


async def test_lost_connections_cost_nothing(
    settings: Settings, producer: Connection, reader: Reader, admin: Connection
) -> None:
    async with relaying(settings):
        for number in range(10):
            await producer.execute(INAPP, f"u{number}")
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name LIKE 'outbox-relay%' AND datname = current_database()"
            )
            await cut_off(settings.redis)
        await reader.until_users([f"u{n}" for n in range(10)])


async def test_the_entry_is_the_envelope_field_for_field(
    settings: Settings, admin: Connection, reader: Reader
) -> None:
    """The JSON that Postgres concatenates is what Envelope itself would write."""
    await admin.execute("INSERT INTO notify.templates (name, channel) VALUES ('t', 'email')")
    await admin.execute(
        "INSERT INTO notify.outbox (event_type, user_id, actor_user_id, channels, payload, template_name, dedup_key,"
        " priority, deliver_at, expires_at, traceparent, digest_key, digest_window, escalate_after, escalate_channels)"
        " VALUES ('a.b:c-d', $1, $1, '{inapp,email,sms}', $2, 't', $1,"
        " 'urgent', '2020-01-01 00:00:00.5+00', '2100-01-01+00', $3, $1, 60, 600, '{sms}')",
        'quote " back \\ slash é 漢 / </script>',
        json.dumps({"deep": [1, 2.5, None, True, {"x": 'a"b'}], "null": None}),
        f"00-{'a' * 32}-{'b' * 16}-01",
    )
    record = await admin.fetchrow("SELECT * FROM notify.outbox")
    assert record is not None
    expected = Envelope(
        **{k: record[k] for k in Envelope.model_fields if k in record.keys() and k not in ("payload", "v")},  # noqa: SIM118
        payload=json.loads(record["payload"]),
    )
    async with relaying(settings):
        await reader.until(has_urgent)
        [(entry_id, envelope)] = await reader.entries("inapp", "urgent")
    assert envelope == expected
    assert entry_id.row == record["id"]
    assert isinstance(envelope.notification_id, UUID)


async def has_urgent(reader: Reader) -> bool:
    return bool(await reader.entries("inapp", "urgent"))


@pytest.mark.parametrize(
    ("statement", "args"),
    [
        ("look", (1, [], 700, [5, 6], 5001, 1_000_000, 0)),
        ("tick_rows", (1, [], 700, 800, [5], "1:800:", 0)),
        ("solo_rows", (1, [], 700, 10, 5000)),
        ("unsettled_rows", (700, 800, [5], "1:800:", "inapp", "normal", 0, 5000, 1, 0)),
    ],
)
async def test_hot_statements_read_the_log_by_its_index_and_sort_no_backlog(
    pool: Pool, database: Database, producer: Connection, statement: str, args: tuple[object, ...]
) -> None:
    await producer.execute(MANY, "u", 3000)
    connection = await connect(database.app, name="test", **BY_INDEX)
    plan = "\n".join(r[0] for r in await connection.fetch(f"EXPLAIN (COSTS OFF) {sql.SQL[statement]}", *args))
    await connection.close()
    assert "Seq Scan" not in plan, plan
    assert "outbox_p0000000000000000000_xid_id_idx" in plan, plan
    if statement in ("look", "solo_rows"):
        # What was in progress at the last tick and has ended since is sorted: never a backlog.
        inner = (
            plan.split("xid >=")[0].split("WindowAgg")[1]
            if statement == "look"
            else plan.split("Limit", 1)[1]
        )
        assert "Sort\n" not in inner.replace("Incremental Sort", "Sort"), plan


async def test_what_an_open_transaction_has_written_is_not_read_again_and_again(
    settings: Settings, nodes: Nodes, database: Database, producer: Connection, reader: Reader
) -> None:
    relay = build(settings, nodes)
    transaction = producer.transaction()
    await transaction.start()
    await producer.execute(MANY, "open-", 3000)
    await relay.step()
    await relay.step()
    assert relay.seen is not None
    explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql.SQL['look']}"
    args: tuple[object, ...] = (1, [], relay.seen.xmax, list(relay.seen.xip), 5001, 1_000_000, 0)
    connection = await connect(database.app, name="test", **BY_INDEX)
    [plan] = json.loads(await connection.fetchval(explain, *args))
    await connection.close()
    assert plan["Plan"]["Shared Hit Blocks"] < 20, plan
    await transaction.commit()
    await relay.step()
    assert await reader.users() == [f"open-{n}" for n in range(1, 3001)]
    await relay.stop()
