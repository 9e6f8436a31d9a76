"""A channel that is throttled, limited or hangs: nothing is dropped, and nobody else waits for it."""

import json
from time import monotonic
from typing import Any
from uuid import UUID

import pytest
import redis.asyncio as aioredis

from outbox.local.doubles.faults import Kind
from outbox.local.doubles.twilio import TwilioDouble
from tests.workers.conftest import Road, eventually
from tests.workers.test_sms import NUMBER, configure, double

__all__ = ["double"]

MANY = 30


async def limit(road: Road, rate: str) -> None:
    config = json.loads(await road.admin.fetchval("SELECT config FROM notify.channels WHERE name = 'sms'"))
    config["providers"][0]["rate"] = rate
    await configure(road, **config)


async def count(road: Road, channel: str, status: str = "delivered") -> int:
    query = "SELECT count(*) FROM notify.deliveries WHERE channel = $1 AND status = $2"
    return int(await road.admin.fetchval(query, channel, status))


async def texts(road: Road, number: int = MANY, **columns: Any) -> list[UUID]:
    return [await road.send("sms", **columns) for _ in range(number)]


@pytest.mark.parametrize("trouble", ["rate", "429", "hang"])
async def test_others_do_not_wait(road: Road, double: TwilioDouble, trouble: str) -> None:
    await road.recipient(phone=NUMBER)
    match trouble:
        case "rate":
            await limit(road, "1/hour")
        case "429":
            double.double.menu.order(Kind.ANSWER, status=429, headers={"Retry-After": "60"}, times=None)
        case "hang":
            double.double.menu.order(Kind.HANG, times=None)
    await texts(road)
    inapp = [await road.send() for _ in range(MANY)]
    async with road.worker("sms", "inapp", worker_concurrency=4):
        for notification_id in inapp:
            await road.until(notification_id, "delivered")
        assert await count(road, "sms") <= 1
        double.double.front.reset_all()


async def test_past_a_providers_rate_texts_wait_and_none_is_dropped(
    road: Road, double: TwilioDouble, redis: "aioredis.Redis"
) -> None:
    await road.recipient(phone=NUMBER)
    await limit(road, "4/second")
    await texts(road, 12)

    async def all_delivered() -> bool:
        await road.promote()
        return await count(road, "sms") == 12

    began = monotonic()
    async with road.worker("sms"):
        await eventually(all_delivered, "all are delivered")
        # At once, a second later, and one more later. When each arrived says less: one may be long on its way.
        assert monotonic() - began > 1.9
    assert double.double.box.total == 12
    attempts = await road.admin.fetchval("SELECT max(attempts) FROM notify.deliveries")
    assert attempts == 1


async def test_an_urgent_text_passes_a_lane_that_has_used_up_the_rate(
    road: Road, double: TwilioDouble
) -> None:
    await road.recipient(phone=NUMBER)
    await limit(road, "10/hour")
    await texts(road, 12)
    async with road.worker("sms"):

        async def used_up() -> bool:
            return await count(road, "sms") == 9 and await count(road, "sms", "deferred") == 3

        await eventually(used_up, "the common part of the rate is used up")
        code = await road.send("sms", priority="urgent")
        await road.until(code, "delivered", "sms")
    ((_, detail),) = [event for event in await last_events(road) if event[0] == "deferred"][:1]
    assert detail["error_class"] == "rate_limited"
    assert "twilio: not asked for another" in detail["reason"]


async def last_events(road: Road) -> list[tuple[str, dict[str, Any]]]:
    rows = await road.admin.fetch("SELECT event, detail FROM notify.delivery_events ORDER BY at")
    return [(row["event"], json.loads(row["detail"])) for row in rows]


async def test_past_a_recipients_rate_it_is_deferred_not_dropped(
    road: Road, double: TwilioDouble, redis: "aioredis.Redis"
) -> None:
    await road.recipient(phone=NUMBER)
    await road.recipient("bob", "bob@example.com", phone="+15005550011")
    await configure(road, recipient_rate="2/hour")
    ada = [await road.send("sms") for _ in range(3)]
    bob = await road.send("sms", user_id="bob")
    async with road.worker("sms"):

        async def limited() -> bool:
            return await count(road, "sms") == 3 and await count(road, "sms", "deferred") == 1

        await eventually(limited, "one of ada's is deferred")
        await road.until(bob, "delivered", "sms")
        (late,) = [one for one in ada if await road.status(one, "sms") == "deferred"]
        event, detail = (await road.events(late))[0]
        assert (event, detail["error_class"]) == ("deferred", "rate_limited")
        assert detail["reason"] == "a recipient is sent 2 per 3600 s at most"
        async for key in redis.scan_iter(match="*rate*"):
            await redis.delete(key)

        async def delivered() -> bool:
            await road.promote()
            return await road.status(late, "sms") == "delivered"

        await eventually(delivered, "the hour is over")
    assert double.double.box.total == 4


async def test_what_a_provider_does_not_take_is_not_counted_against_the_recipient(
    road: Road, double: TwilioDouble
) -> None:
    """Deferred by the provider's rate again and again, it may still be sent."""
    await road.recipient(phone=NUMBER)
    await limit(road, "1/hour")
    await configure(road, recipient_rate="2/hour")
    await texts(road, 2)

    for often in (1, 2, 3):

        async def deferred(often: int = often) -> bool:
            await road.promote()
            return [event for event, _ in await last_events(road)].count("deferred") == often

        async with road.worker("sms"):  # each anew: a lane whose rate is used up for an hour pauses
            await eventually(deferred, "the second is deferred by the provider's rate")
    reasons = {detail["reason"][:8] for event, detail in await last_events(road) if event == "deferred"}
    assert reasons == {"twilio: "}
