"""An erasure while everything runs: relays, workers, other erasers, sockets; and what is honoured after it."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from db import delivery, erasure
from db.delivery import Claimant
from db.pool import Pool
from outbox.erasure import eraser as erasing
from outbox.erasure.eraser import Eraser, LeaseLostError
from outbox.inbox import InboxChange
from outbox.service import Stop
from outbox.tokens import Identity, Via
from tests.db.test_delivery import PLAIN
from tests.hints import hints
from tests.outbox.erasure.conftest import ADA, EMAIL, OTHER, History, carry_out
from tests.relay.conftest import relaying
from tests.workers.conftest import eventually
from workers.main import main as work

OPS = Identity("ops", frozenset({"admin"}), datetime.now(UTC) + timedelta(hours=1), Via.TOKEN)


async def begin(eraser: Eraser) -> UUID:
    async with eraser.pool.acquire() as conn, conn.transaction():
        return (await erasing.request(conn, eraser.settings, OPS, ADA, [])).id


async def count(history: History, what: str) -> int:
    number: int = await history.admin.fetchval(f"SELECT count(*) FROM {what}")
    return number


async def test_on_the_road(history: History, eraser: Eraser) -> None:
    """Producers, relay and in-app worker at work: hers are gone, others have all of theirs, once."""
    stop = Stop()
    working = asyncio.create_task(work(history.settings, ["inapp"], stop))
    async with relaying(history.settings):
        for _ in range(100):
            await history.notify(actor_user_id=OTHER)
            await history.notify(OTHER, actor_user_id=ADA)
        await begin(eraser)
        erased = asyncio.create_task(carry_out(eraser))
        for _ in range(100):
            await history.notify(OTHER)
        await erased

        async def all_there() -> bool:
            return await count(history, f"notify.inbox WHERE user_id = '{OTHER}'") == 200

        await eventually(all_there, "the other one has all")
    stop.ask()
    await working
    assert await history.found() == set()
    assert await history.in_redis() == []
    row = await history.admin.fetchrow("SELECT last_seq, unread FROM notify.inbox_counters")
    assert row is not None
    assert tuple(row) == (200, 200)


async def test_entries_of_others_that_name_her_go_on_their_way_without_the_name(
    history: History, eraser: Eraser
) -> None:
    """No worker runs: the entry waits in its stream, is taken out, and comes again from the log."""
    async with relaying(history.settings):
        stream = history.settings.keys.stream("email")
        one = await history.notify(OTHER, channel="email", actor_user_id=ADA)

        async def entries(number: int) -> bool:
            return await history.redis.xlen(stream) == number

        await eventually(lambda: entries(1), "it is in the stream")
        await begin(eraser)
        await carry_out(eraser)
        await eventually(lambda: entries(1), "it is in the stream again")
        found: Any = await history.redis.xrange(stream)
    envelope = json.loads(found[0][1][b"envelope"])
    assert (envelope["notification_id"], envelope["user_id"]) == (str(one), OTHER)
    assert "actor_user_id" not in envelope
    assert await history.in_redis() == []


async def test_a_step_that_is_rolled_back_loses_nobody_elses_entry(
    history: History, eraser: Eraser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease is lost, or the process dies, after the entry was taken out of its stream and before the commit."""
    one = await history.notify(OTHER, channel="email", actor_user_id=ADA)
    envelope = json.dumps({"notification_id": str(one), "user_id": OTHER, "actor_user_id": ADA})
    stream = history.settings.keys.stream("email")
    await history.redis.xadd(stream, {"envelope": envelope, "attempt": "0"})
    advance = erasure.advance
    failed: list[bool] = []

    async def failing(*arguments: Any) -> bool:
        if not failed and not await history.redis.xlen(stream):
            failed.append(True)
            return False
        return await advance(*arguments)

    monkeypatch.setattr(erasure, "advance", failing)
    await begin(eraser)
    with pytest.raises(LeaseLostError):
        await carry_out(eraser)
    again = "notify.outbox WHERE origin = 'schedule'"
    assert await count(history, again) == 1
    await carry_out(eraser)
    assert await count(history, again) == 1
    assert await history.in_redis() == []


async def test_a_settled_one_does_not_come_again(history: History, eraser: Eraser) -> None:
    one = await history.notify(OTHER, channel="email", actor_user_id=ADA)
    await history.admin.execute(
        "INSERT INTO notify.deliveries (notification_id, channel, status, attempts, attempts_allowed)"
        " VALUES ($1, 'email', 'delivered', 1, 8)",
        one,
    )
    envelope = json.dumps({"notification_id": str(one), "user_id": OTHER, "actor_user_id": ADA})
    stream = history.settings.keys.stream("email")
    await history.redis.xadd(stream, {"envelope": envelope, "attempt": "0"})
    before = await count(history, "notify.outbox")
    await begin(eraser)
    await carry_out(eraser)
    assert await count(history, "notify.outbox") == before
    assert await history.redis.xlen(stream) == 0


async def test_what_a_worker_has_claimed_ends_quietly(history: History, eraser: Eraser, pool: Pool) -> None:
    one = await history.notify()
    who = replace(PLAIN, token=uuid4())
    async with pool.acquire() as conn:
        [claim] = await delivery.claim(conn, who, [one], [0])
        assert claim.attempts == 1
        await begin(eraser)
        await carry_out(eraser)
        settled = await delivery.settle(conn, "inapp", [settlement(one, who)])
        [again] = await delivery.claim(conn, who, [one], [0])
    assert settled == {}
    assert not again.known
    assert await count(history, "notify.delivery_events") == 0


def settlement(notification_id: UUID, who: Claimant) -> delivery.Settlement:
    return delivery.Settlement(notification_id, who.token, delivery.Status.DELIVERED, "delivered", 1)


async def test_suppressions_go_on_being_honoured(history: History, eraser: Eraser, pool: Pool) -> None:
    await history.admin.execute("INSERT INTO notify.recipients (user_id, email) VALUES ($1, $2)", ADA, EMAIL)
    await history.admin.execute(
        "INSERT INTO notify.suppressions (channel, address, reason) VALUES ('email', $1, 'complaint')", EMAIL
    )
    await begin(eraser)
    await carry_out(eraser)
    await history.admin.execute(
        "INSERT INTO notify.recipients (user_id, email) VALUES ('somebody', upper($1)), ('bob', 'bob@example.com')",
        EMAIL,
    )
    ids = [await history.notify(user, channel="email") for user in ("somebody", "bob")]
    async with pool.acquire() as conn:
        claims = await delivery.claim(conn, Claimant("email", "w", uuid4(), 60, contacts=True), ids, [0, 0])
    assert {claim.notification_id: claim.suppressed for claim in claims} == dict(
        zip(ids, ["complaint", None], strict=True)
    )


async def test_another_process_goes_on_where_one_died(history: History, eraser: Eraser) -> None:
    for _ in range(3):
        await history.notify()
    begun = await begin(eraser)
    await eraser.step()
    heir = replace(eraser, token=uuid4())
    assert await heir.step() > 0, "it is the first one's"
    await history.admin.execute("UPDATE notify.erasures SET lease_until = now() - interval '1 s'")
    await heir.step()
    assert await eraser.step() > 0, "it is the heir's"
    await carry_out(heir)
    async with heir.pool.acquire() as conn:
        found = await erasure.find(conn, begun)
    assert found is not None
    assert found.erased == {"notifications": 3, "outbox": 3}


async def test_who_has_lost_the_lease_changes_nothing(history: History, eraser: Eraser, pool: Pool) -> None:
    begun = await begin(eraser)
    async with pool.acquire() as conn:
        await erasure.take(conn, uuid4(), 60)
        to = erasure.Place(1, "person")
        assert not await erasure.advance(conn, begun, eraser.token, to, {})
        assert not await erasure.finish(conn, begun, eraser.token)


async def test_the_log_is_gone_through_in_stretches(
    history: History, eraser: Eraser, monkeypatch: Any
) -> None:
    monkeypatch.setattr("outbox.erasure.stages.LOG_ROWS", 3)
    for number in range(10):
        await history.notify(ADA if number % 3 else OTHER)
    await begin(eraser)
    await carry_out(eraser)
    assert await count(history, "notify.outbox") == 4


async def test_streams_are_gone_through_in_pages(history: History, eraser: Eraser, monkeypatch: Any) -> None:
    monkeypatch.setattr("outbox.erasure.stages.ENTRIES", 2)
    await history.in_every_stream()
    await begin(eraser)
    await carry_out(eraser)
    assert await history.in_redis() == []


async def test_open_sockets_are_told_to_look(history: History, eraser: Eraser) -> None:
    async with hints(history.settings.redis, history.settings.keys.user(ADA)) as heard:
        await begin(eraser)
        await carry_out(eraser)
        async with asyncio.timeout(60):
            change = InboxChange.model_validate_json(await heard())
    assert (change.version > 10**15, change.last_seq, change.item) == (True, 0, None)


async def test_a_long_transaction_of_a_producer_holds_up_the_erasure_and_nobody_else(
    history: History, eraser: Eraser, pool: Pool
) -> None:
    one = await history.notify()
    await begin(eraser)
    tx = history.producer.transaction()
    await tx.start()
    await history.producer.execute("SELECT * FROM notify.cancel($1)", one)
    assert await eraser.step() > 0, "it gives up for now"
    assert await count(history, "notify.notifications") == 1
    await tx.rollback()
    await carry_out(eraser)
    assert await count(history, "notify.notifications") == 0
