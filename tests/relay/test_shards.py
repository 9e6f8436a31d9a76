"""Shards: a user's notifications of one channel are in one stream, and whoever changes their number loses nothing."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest

from db import shards
from db.pool import OUTAGES, Connection
from outbox.nodes import Nodes
from outbox.settings import Settings
from relay import look, quick
from relay.main import build
from relay.relay import Relay
from relay.upkeep import Upkeep
from tests.relay.conftest import Reader, relaying
from tests.relay.shards import Outside, users_of

INSERT = "INSERT INTO notify.outbox (event_type, user_id, channels) VALUES ('a', $1, $2)"
MANY = (
    "INSERT INTO notify.outbox (event_type, user_id, channels)"
    " SELECT 'a', 'u' || i % 40, '{inapp,email}' FROM generate_series($1::int, $2::int) i"
)
FREE = "UPDATE notify.relay_lease SET expires_at = '-infinity'"


@pytest.fixture
def outside(admin: Connection, reader: Reader) -> Outside:
    return Outside(admin, reader)


@pytest.fixture
async def made(nodes: Nodes) -> AsyncIterator[Callable[[Settings], Relay]]:
    """Relays that somebody else steps; they are stopped at the end."""
    relays: list[Relay] = []

    def make(settings: Settings) -> Relay:
        relays.append(build(settings, nodes))
        return relays[-1]

    yield make
    for relay in relays:
        await relay.stop()


@pytest.fixture
def relay(settings: Settings, made: Callable[[Settings], Relay]) -> Relay:
    return made(settings)


def written(first: int, last: int) -> list[str]:
    return [f"u{i % 40}" for i in range(first, last + 1)]


async def at_work(relay: Relay) -> None:
    """Until there is nothing to do."""
    while await relay.step() == 0:
        pass


async def changed(relay: Relay) -> None:
    """It hears of another number."""
    await relay.verify()
    await at_work(relay)


@pytest.mark.parametrize("rows", [50, 2_000], ids=["quick", "at length"])
async def test_each_row_is_in_the_shard_of_its_user_and_others_stay_where_they_were(
    relay: Relay, producer: Connection, outside: Outside, rows: int
) -> None:
    await outside.set("email", 4)
    await producer.execute(MANY, 1, rows)
    await at_work(relay)
    found = await outside.found("email")
    assert sorted(found) == [0, 1, 2, 3], "forty users are enough for all four"
    for shard, entries in found.items():
        assert {await outside.expected_shard(user, 4) for user in users_of(entries)} == {shard}
        assert [entry_id for entry_id, _ in entries] == sorted(entry_id for entry_id, _ in entries)
    assert await outside.users("email") == await outside.users("inapp")
    assert [users_of(entries) for entries in (await outside.found("inapp")).values()] == [written(1, rows)]


async def test_the_hash_is_a_fact_that_no_release_may_change(admin: Connection) -> None:
    """Ticks were made by it."""
    users = ["alice", "bob", "ünï", "x" * 200]
    found = [await admin.fetchval("SELECT notify.shard_of($1, 64)", user) for user in users]
    assert found == [61, 13, 60, 21]
    for user in users:
        whole = await admin.fetchval("SELECT notify.shard_of($1, 64)", user)
        for fewer in (1, 2, 4, 8, 16, 32):
            assert await admin.fetchval("SELECT notify.shard_of($1, $2)", user, fewer) == whole % fewer


async def test_p2_p4_more_and_fewer_shards_while_producers_write(
    settings: Settings, producer: Connection, outside: Outside
) -> None:
    settings = settings.model_copy(update={"relay_verify": 0.02})
    rows = 0
    async with relaying(settings):
        for number in (4, 1, 8, 2, 16, 1, 4):
            await outside.set("email", number)
            for _ in range(15):
                await producer.execute(INSERT, f"u{rows % 40}", ["inapp", "email"])
                rows += 1
        await outside.until_users("email", written(0, rows - 1))
        await outside.until_users("inapp", written(0, rows - 1))
    assert len(await outside.found("email")) > 2
    for entries in (await outside.found("email")).values():
        assert [entry_id.row for entry_id, _ in entries] == sorted(entry_id.row for entry_id, _ in entries)


async def test_p3_after_a_flush_each_row_comes_back_where_it_was_under_the_same_id(
    relay: Relay, producer: Connection, admin: Connection, outside: Outside
) -> None:
    """By the number that held then, not by the one that holds now; without what is settled."""
    for first, number in ((1, 1), (101, 4), (201, 2), (301, 8)):
        await outside.set("email", number)
        await changed(relay)
        await producer.execute(MANY, first, first + 99)
        await at_work(relay)
    before = await outside.found("email")
    await admin.execute(
        "INSERT INTO notify.deliveries (notification_id, channel, status, attempts, attempts_allowed)"
        " SELECT id, 'email', 'delivered', 1, 8 FROM notify.notifications WHERE user_id = 'u7'"
    )
    await outside.set("email", 1)
    await changed(relay)
    await outside.reader.redis.flushdb()
    await relay.verify()
    await at_work(relay)
    open_ones = {shard: [e for e in entries if e[1].user_id != "u7"] for shard, entries in before.items()}
    assert await outside.found("email") == {shard: entries for shard, entries in open_ones.items() if entries}


async def test_p3_a_big_transaction_comes_back_to_its_shards(
    relay: Relay, producer: Connection, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look, "TICK_ROWS", 50)
    monkeypatch.setattr(quick, "QUICK_ROWS", 0)
    await outside.set("email", 4)
    await producer.execute(MANY, 1, 400)
    await at_work(relay)
    before = await outside.found("email")
    assert await outside.users("email") == await outside.users("inapp")
    await outside.reader.redis.flushdb()
    await relay.verify()
    await at_work(relay)
    assert await outside.found("email") == before


async def test_p2_a_relay_that_has_not_heard_yet_and_one_that_has(
    settings: Settings,
    made: Callable[[Settings], Relay],
    producer: Connection,
    admin: Connection,
    outside: Outside,
) -> None:
    patient = settings.model_copy(update={"relay_lease": 600})
    unaware, other = made(patient), made(patient)
    await producer.execute(INSERT, "u1", ["email"])
    await at_work(unaware)
    await outside.set("email", 16)
    await admin.execute(FREE)
    await producer.execute(MANY, 1, 40)
    await at_work(other)
    await producer.execute(MANY, 41, 80)
    await unaware.step()  # its lease, as far as it knows, lasts; its tick is refused
    assert unaware.ledger is not None
    assert unaware.ledger.stale
    await unaware.step()
    await other.step()
    await at_work(unaware)
    assert await outside.users("email") == await outside.users("inapp") + type(await outside.users("inapp"))(
        ["u1"]
    )
    assert len(await outside.found("email")) > 4


async def test_a_tick_cannot_be_made_by_a_placement_that_is_gone(
    settings: Settings,
    made: Callable[[Settings], Relay],
    producer: Connection,
    admin: Connection,
    outside: Outside,
) -> None:
    """A relay was frozen for so long that nobody reads its shards any more: it may not put anything there."""
    frozen = made(settings)
    await outside.set("email", 8)
    await at_work(frozen)
    await outside.set("email", 1)
    await shards.drop_placements(admin, None)
    await producer.execute(MANY, 1, 40)
    with pytest.raises(OUTAGES):
        await frozen.step()
    await at_work(frozen)
    assert list(await outside.found("email")) == [0]
    assert await outside.users("email") == await outside.users("inapp")


async def test_a_shard_is_readable_until_its_ticks_are_gone_and_is_forgotten_then(
    settings: Settings,
    made: Callable[[Settings], Relay],
    producer: Connection,
    admin: Connection,
    outside: Outside,
) -> None:
    small = settings.model_copy(update={"partition_rows": 50, "retention": timedelta(days=3)})
    relay = made(small)
    upkeep = Upkeep(relay, small.database, small.partition_rows, small.retention)
    await admin.execute("SELECT setval('notify.outbox_id_seq', 999950)")
    await outside.set("email", 4)
    await producer.execute(MANY, 1, 40)
    await at_work(relay)
    await outside.set("email", 2)
    await changed(relay)

    async def readable() -> int:
        return (await shards.of_channels(admin))["email"].readable

    async def kept_up() -> None:
        while await upkeep.step() == 0:
            pass
        await relay.verify()

    await kept_up()
    assert await readable() == 4
    for first in (41, 121, 201):
        await producer.execute(MANY, first, first + 79)
        await at_work(relay)
        await kept_up()
    await admin.execute("UPDATE notify.outbox SET created_at = created_at - interval '9 days'")
    await kept_up()
    assert await readable() == 4, "there are entries in it"
    keys, redis = settings.keys, outside.reader.redis
    for stream in [*keys.streams("email", 4), *keys.streams("inapp", 1)]:
        await redis.xtrim(stream, maxlen=0, approximate=False)
    await relay.verify()
    await kept_up()
    assert await readable() == 2
    assert not await redis.exists(keys.stream("email", shard=3))
    assert await redis.exists(keys.stream("email", shard=1))
    await producer.execute(MANY, 281, 320)
    await at_work(relay)
    assert relay.ledger is not None
    assert set(relay.ledger.tops) == {keys.stream("inapp"), *keys.streams("email", 2)[1::3]}
    await outside.set("email", 4)
    await changed(relay)
    await producer.execute(MANY, 321, 360)
    await at_work(relay)
    assert await outside.users("email") == await outside.users("inapp")
    await upkeep.stop()


async def test_what_is_delivered_in_order_has_one_stream(
    relay: Relay, producer: Connection, admin: Connection, outside: Outside
) -> None:
    await outside.set("webhook", 4)
    await admin.execute("UPDATE notify.channels SET config = '{\"ordered\": true}' WHERE name = 'webhook'")
    await producer.executemany(INSERT, [(f"u{n}", ["webhook"]) for n in range(20)])
    await at_work(relay)
    assert list(await outside.found("webhook")) == [0]


async def test_a_full_shard_holds_up_no_other(
    settings: Settings, made: Callable[[Settings], Relay], producer: Connection, outside: Outside
) -> None:
    relay = made(settings.model_copy(update={"stream_max_length": 10}))
    await outside.set("email", 2)
    users = {await outside.expected_shard(f"u{n}", 2): f"u{n}" for n in range(10)}
    await producer.executemany(INSERT, [(users[0], ["email"])] * 30)
    await relay.step()
    await producer.executemany(INSERT, [(users[1], ["email"])] * 5)
    await relay.step()
    found = await outside.found("email")
    assert len(found[0]) <= 10
    assert users_of(found[1]) == [users[1]] * 5


async def test_p2_a_shard_that_holds_what_postgres_lost_begins_anew_before_it_is_used(
    relay: Relay, producer: Connection, outside: Outside
) -> None:
    """A standby that lagged was promoted: it knows neither the change nor the ticks that were made by it."""
    await producer.execute(MANY, 1, 40)
    await at_work(relay)
    stream = outside.reader.settings.keys.stream("email", shard=3)
    lost = f"{(relay.ledger.tick.ms if relay.ledger and relay.ledger.tick else 0) + 60_000}-1000000"
    await outside.reader.redis.xadd(stream, {"envelope": "{}", "attempt": "0"}, id=lost)
    await outside.set("email", 4)
    await changed(relay)
    assert not await outside.reader.redis.exists(stream)
    await producer.execute(MANY, 41, 80)
    await at_work(relay)
    assert await outside.users("email") == await outside.users("inapp")
