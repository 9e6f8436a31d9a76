"""What the relays tell Prometheus: true at the moment somebody looks, and nothing where they cannot know."""

import asyncio
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic, time
from typing import Any

import pytest
from prometheus_client import REGISTRY
from pydantic import SecretStr
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from db.pool import OUTAGES, Connection, open_pool
from outbox.local.doubles.http2 import Certificate
from outbox.nodes import Nodes
from outbox.settings import Settings
from relay.expiry import Expiry
from relay.main import build, count_pending
from relay.survey import COUNTED, Survey
from relay.upkeep import Partition, Upkeep, rows_ahead
from tests.outbox.certificates import showing
from tests.relay.conftest import Reader

ROWS = (
    "INSERT INTO notify.outbox (event_type, user_id) SELECT 'a', 'u' || i FROM generate_series(1, $1::int) i"
)
LATER = """
INSERT INTO notify.outbox (event_type, user_id, deliver_at)
SELECT 'a', 'u', now() + make_interval(secs => s) FROM unnest($1::float8[]) s
"""
OLD_RETRY = """
INSERT INTO notify.outbox (event_type, user_id, created_at, attempt, origin)
VALUES ('a', 'u', now() - interval '1 day', 1, 'schedule')
"""
DEAD = """
INSERT INTO notify.notifications_failed (channel, error_class, reason, redriven_at, discarded_at)
VALUES ('sms', 'gone', '', NULL, NULL), ('sms', 'gone', '', NULL, NULL),
       ('email', 'gone', '', now(), NULL), ('email', 'gone', '', NULL, now())
"""
KEY = """
INSERT INTO notify.api_keys (id, name, hash, scopes, created_by, expires_at, revoked_at)
VALUES ($1, $1, decode(repeat('00', 32), 'hex'), '{producer}', 'me', $2, $3)
"""


def value(name: str, /, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


async def test_a_leader_whose_lease_has_run_out_says_so_even_if_nothing_moves_any_more(
    settings: Settings, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = build(settings, nodes)
    assert value("outbox_relay_leader") == 0
    await relay.step()
    assert value("outbox_relay_leader") == 1
    later = monotonic() + settings.relay_lease + 1
    monkeypatch.setattr("relay.lead.monotonic", lambda: later)
    assert value("outbox_relay_leader") == 0
    monkeypatch.undo()
    await relay.stop()
    assert value("outbox_relay_leader") == 0


async def test_the_lag_grows_while_no_step_comes_to_an_end(
    settings: Settings, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = build(
        settings.model_copy(update={"database_url": SecretStr("postgresql://127.0.0.1:9/x")}), nodes
    )
    with pytest.raises(OUTAGES):
        await relay.step()
    later = monotonic() + 100
    monkeypatch.setattr("relay.relay.monotonic", lambda: later)
    assert 99 < (value("outbox_relay_lag_seconds") or 0) < 101


async def test_rows_are_counted_while_redis_is_away(
    settings: Settings, nodes: Nodes, producer: Connection
) -> None:
    relay = build(settings, nodes)
    while await relay.step() == 0:
        pass
    await producer.execute(ROWS, 7)
    nowhere = Nodes("redis://127.0.0.1:9", protocol=2)
    relay.shipper.streams.nodes = nowhere
    relay.ledger.tops["notifications.inapp"] = (0, 0)  # type: ignore[union-attr, assignment]
    with pytest.raises(RedisConnectionError):
        await relay.verify()
    assert value("outbox_relay_lag_rows") == 7
    await relay.stop()
    await nowhere.aclose()


async def test_a_standby_forgets_what_only_the_leader_knows(
    settings: Settings, nodes: Nodes, producer: Connection, redis: Redis
) -> None:
    await producer.execute(ROWS, 3)
    first = build(settings, nodes)
    while await first.step() == 0:
        pass
    await first.verify()
    stream = settings.keys.stream("inapp")
    assert value("notifications_queue_length", stream=stream) == 3
    assert 0 < (value("notifications_queue_oldest_seconds", stream=stream) or 0) < 60
    assert value("outbox_relay_redis_losses_total", stream=stream) == 0
    second = build(settings, nodes)
    await second.step()
    assert value("notifications_queue_length", stream=stream) is None
    assert math.isnan(value("outbox_relay_lag_rows") or 0)
    await first.stop()
    await second.stop()


async def test_pending_entries_and_the_age_of_the_oldest(
    settings: Settings, nodes: Nodes, producer: Connection, redis: Redis
) -> None:
    await producer.execute(ROWS, 3)
    relay = build(settings, nodes)
    while await relay.step() == 0:
        pass
    stream = settings.keys.stream("inapp")
    labels = {"group": "workers", "stream": stream}
    await redis.xgroup_create(stream, "workers", id="0")
    await count_pending(relay)
    assert value("notifications_pending_messages", **labels) == 0
    assert value("notifications_pending_oldest_seconds", **labels) == 0
    read: Any = await redis.xreadgroup("workers", "one", {stream: ">"}, count=2)
    [[_, entries]] = read
    await count_pending(relay)
    assert value("notifications_pending_messages", **labels) == 2
    age = time() - int(entries[0][0].split(b"-")[0]) / 1000
    assert value("notifications_pending_oldest_seconds", **labels) == pytest.approx(age, abs=5)
    await relay.stop()


async def test_what_came_back_after_a_loss_is_counted(
    settings: Settings, nodes: Nodes, producer: Connection, reader: Reader
) -> None:
    await producer.execute(ROWS, 5)
    relay = build(settings, nodes)
    while await relay.step() == 0:
        pass
    stream = settings.keys.stream("inapp")
    before = value("outbox_relay_entries_refilled_total", stream=stream) or 0
    await reader.redis.flushdb()
    await relay.verify()
    assert value("outbox_relay_stream_behind", stream=stream) == 1
    while relay.ledger and relay.ledger.behind:
        await relay.step()
    assert value("outbox_relay_entries_refilled_total", stream=stream) == before + 5
    assert value("outbox_relay_stream_behind", stream=stream) == 0
    assert await reader.users() == [f"u{i}" for i in range(1, 6)]
    await relay.stop()


async def test_the_survey_counts_what_waits_what_is_overdue_and_what_is_dead(
    settings: Settings, nodes: Nodes, producer: Connection, admin: Connection
) -> None:
    await producer.execute(LATER, [3600.0, 7200.0, 10.0])
    await admin.execute(
        "UPDATE notify.scheduled SET due_at = now() - interval '90 s' WHERE due_at < now() + interval '1 min'"
    )
    await admin.execute(DEAD)
    soon, late = (datetime.now(UTC) + timedelta(days=days) for days in (7, 90))
    await admin.execute(KEY, "soonsoonsoon", soon, None)
    await admin.execute(KEY, "latelatelate", late, None)
    await admin.execute(KEY, "gonegonegone", soon, datetime.now(UTC))
    pool = await open_pool(settings.database, name="test")
    survey = Survey(pool, nodes)
    await survey.postgres()
    assert (value("outbox_scheduled_rows"), value("outbox_scheduled_overdue_rows")) == (2, 1)
    assert 89 < (value("outbox_scheduled_overdue_seconds") or 0) < 120
    assert [value("outbox_dead_letters_open", channel=name) for name in ("sms", "email", "push")] == [2, 0, 0]
    ends = "outbox_api_key_expiry_timestamp_seconds"
    assert value(ends, key="soonsoonsoon", name="soonsoonsoon") == pytest.approx(soon.timestamp())
    assert [value(ends, key=key, name=key) for key in ("latelatelate", "gonegonegone")] == [None, None]
    assert value("outbox_postgres_notify_queue_ratio") == 0
    assert 0 < (value("outbox_postgres_connections") or 0) <= (value("outbox_postgres_max_connections") or 0)
    pool.terminate()
    with pytest.raises(OUTAGES):
        await survey.postgres()
    assert value("outbox_dead_letters_open", channel="sms") is None, "an old figure looks like a good one"
    assert math.isnan(value("outbox_scheduled_overdue_rows") or 0)


@pytest.mark.parametrize("origin", ["producer", "api"])
async def test_the_oldest_row_is_seen_without_a_leader(
    settings: Settings, nodes: Nodes, producer: Connection, admin: Connection, origin: str
) -> None:
    """A row of a transaction that was open when the last tick was made, too: its id lies below the tick's."""
    pool = await open_pool(settings.database, name="test")
    survey = Survey(pool, nodes)
    late = producer.transaction()
    await late.start()
    await producer.execute(ROWS, 1)
    await admin.execute("INSERT INTO notify.outbox (event_type, user_id) VALUES ('a', 'u')")
    relay = build(settings, nodes)
    while await relay.step() == 0:
        pass
    await relay.stop()
    await survey.postgres()
    assert value("outbox_relay_oldest_row_seconds") == 0
    await late.commit()
    await admin.execute(
        "UPDATE notify.outbox SET created_at = created_at - interval '90 s', origin = $1", origin
    )
    await admin.execute(OLD_RETRY)
    await survey.postgres()
    assert 89 < (value("outbox_relay_oldest_row_seconds") or 0) < 150
    pool.terminate()


async def test_a_long_backlog_of_dead_letters_is_not_counted_to_its_end(
    settings: Settings, nodes: Nodes, admin: Connection
) -> None:
    await admin.execute(
        "INSERT INTO notify.notifications_failed (channel, error_class, reason)"
        " SELECT 'push', 'gone', '' FROM generate_series(1, $1::int + 5)",
        COUNTED,
    )
    pool = await open_pool(settings.database, name="test")
    await Survey(pool, nodes).postgres()
    assert value("outbox_dead_letters_open", channel="push") == COUNTED
    pool.terminate()


async def test_the_survey_of_redis(settings: Settings, nodes: Nodes, redis: Redis) -> None:
    pool = await open_pool(settings.database, name="test")
    survey = Survey(pool, nodes)
    await survey.redis()
    for node, _ in await nodes.each():
        assert (value("outbox_redis_memory_used_bytes", node=node) or 0) > 100_000
        assert value("outbox_redis_last_write_ok", node=node) == 1
        assert value("outbox_redis_evicts", node=node) == 0
        assert (value("outbox_redis_connected_clients", node=node) or 0) > 0
    survey.nodes = Nodes("redis://127.0.0.1:9", protocol=2)
    with pytest.raises(RedisConnectionError, match=r"127\.0\.0\.1"):
        await survey.redis()
    told = [value("outbox_redis_memory_used_bytes", node=node) for node, _ in await nodes.each()]
    assert set(told) == {None}
    pool.terminate()


def test_rows_ahead() -> None:
    two = [Partition("a", 0, 100), Partition("b", 100, 200)]
    assert rows_ahead(two, 0) == 199
    assert rows_ahead(two, 199) == 0
    assert rows_ahead(two, 500) == 0
    assert rows_ahead([], 0) == 0


async def test_old_partitions_that_something_holds_are_told(
    settings: Settings, nodes: Nodes, producer: Connection, admin: Connection, redis: Redis
) -> None:
    await admin.execute("SELECT setval('notify.outbox_id_seq', 999990)")
    relay = build(settings, nodes)
    upkeep = Upkeep(relay, settings.database, 50, settings.retention)
    await producer.execute(ROWS, 15)  # across the end of the first partition
    await admin.execute("UPDATE notify.outbox SET created_at = created_at - interval '9 days'")
    while await relay.step() == 0:
        pass
    await relay.verify()
    while await upkeep.step() == 0:
        pass
    assert value("outbox_relay_partitions_expired") == 1
    assert value("outbox_relay_partition_rows") == 50
    assert (value("outbox_relay_partition_rows_ahead") or 0) >= 50
    assert value("outbox_relay_upkeep_timestamp_seconds") == pytest.approx(time(), abs=30)
    await redis.xtrim(settings.keys.stream("inapp"), maxlen=0, approximate=False)
    await relay.verify()
    while await upkeep.step() == 0:
        pass
    assert value("outbox_relay_partitions_expired") == 0
    await relay.stop()
    await upkeep.stop()


async def test_certificates_of_the_servers_and_of_the_services_own_addresses(
    settings: Settings, tmp_path: Path
) -> None:
    async with showing(Certificate.kept(tmp_path)) as port:
        shown = settings.model_copy(
            update={
                "api_url": f"https://localhost:{port}",
                "gateway_url": "http://localhost:1",
                "redis_url": SecretStr(f"rediss://:secret@localhost:{port}/0"),
            }
        )
        expiry = Expiry(shown)
        assert set(expiry.servers) == {"postgres", "redis", "api"}
        await expiry.step()
    for server in ("redis", "api"):
        ends = value("outbox_certificate_expiry_timestamp_seconds", server=server) or 0
        assert ends == pytest.approx(time() + 3650 * 86400, abs=86400)
    assert await asyncio.wait_for(Expiry(shown).step(), 60) == 60, (
        "nobody is there any more: asked again soon"
    )
