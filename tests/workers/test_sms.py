"""The SMS channel on the road: a worker, real Postgres and Redis, and a double of Twilio."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from outbox.local.doubles.faults import Kind
from outbox.local.doubles.serving import running
from outbox.local.doubles.twilio import SID, TOKEN, TwilioDouble
from outbox.local.ports import any_free
from tests.workers.conftest import Road, eventually
from workers.sms import VALID_SECONDS, valid_seconds

NUMBER = "+15005550010"
SHORT_BUDGET = {"worker_lease": 4}  # an attempt has two seconds


@pytest.fixture
async def double(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[TwilioDouble]:
    twilio = TwilioDouble(reports=())
    async with running(twilio.double):
        for name, value in (
            ("ACCOUNT_SID", SID),
            ("AUTH_TOKEN", TOKEN),
            ("FROM", "+15005550006"),
            ("URL", twilio.double.url),
        ):
            monkeypatch.setenv(f"TWILIO_{name}", value)
        yield twilio
    await twilio.close()


async def configure(road: Road, **changes: Any) -> None:
    await road.admin.execute(
        "UPDATE notify.channels SET config = config || $1::jsonb WHERE name = 'sms'", json.dumps(changes)
    )


async def a_text(road: Road, phone: str = NUMBER, **columns: Any) -> UUID:
    await road.recipient(phone=phone)
    return await road.send("sms", **columns)


async def settled(road: Road, notification_id: UUID, status: str, **changes: Any) -> dict[str, Any]:
    """The last event, once the delivery has that status."""
    async with road.worker("sms", **changes):
        await road.until(notification_id, status, "sms")
    return (await road.events(notification_id))[-1][1]


async def test_as_migrated_it_sends(road: Road, double: TwilioDouble) -> None:
    notification_id = await a_text(road, payload={"body": "Your code is 42", "url": "https://x.example"})
    detail = await settled(road, notification_id, "delivered")
    (received,) = double.double.box.messages
    assert (received.to, received.text) == (NUMBER, "Your code is 42 https://x.example")
    assert received.details["StatusCallback"] == (
        f"{road.settings.public_api_url}/v1/callbacks/twilio?channel=sms&notification={notification_id}"
    )
    assert "ValidityPeriod" not in received.details
    assert detail == {"provider": "twilio", "provider_message_id": received.id, "sends": 1, "segments": 1}


async def test_it_expires_at_the_provider_too(road: Road, double: TwilioDouble) -> None:
    notification_id = await a_text(road, expires_at=datetime.now(UTC) + timedelta(seconds=600))
    await settled(road, notification_id, "delivered")
    assert 500 < int(double.double.box.messages[0].details["ValidityPeriod"]) <= 600


@pytest.mark.parametrize(("left", "seconds"), [(0.4, 1), (-5, 1), (90, 90), (1e9, VALID_SECONDS)])
def test_valid_seconds(left: float, seconds: int) -> None:
    now = datetime.now(UTC)
    assert valid_seconds(now + timedelta(seconds=left), now) == seconds


async def test_segments_are_on_the_timeline(road: Road, double: TwilioDouble) -> None:
    detail = await settled(road, await a_text(road, payload={"body": "ş" * 71}), "delivered")
    assert detail["segments"] == 2


async def test_too_long_is_never_sent(road: Road, double: TwilioDouble) -> None:
    await configure(road, max_segments=2)
    detail = await settled(road, await a_text(road, payload={"body": "x" * 307}), "failed")
    assert detail["error_class"] == "too_long"
    assert detail["reason"] == (
        "307 characters are 3 segments (GSM7); allowed are 2 segments and 1600 characters"
    )
    assert double.double.box.total == 0


async def test_an_empty_text_is_never_sent(road: Road, double: TwilioDouble) -> None:
    await road.admin.execute("UPDATE notify.templates SET body_text = ' ' WHERE channel = 'sms'")
    detail = await settled(road, await a_text(road), "failed")
    assert (detail["error_class"], detail["reason"]) == ("template", "the text is empty")


@pytest.mark.parametrize(
    ("phone", "reason"),
    [
        ("+15005550001", "400: 21211 the number is invalid"),
        ("+15005550004", "unsubscribed: 400: 21610 the recipient has opted out (STOP)"),
    ],
)
async def test_a_number_that_is_gone_is_suppressed_and_not_tried_again(
    road: Road, double: TwilioDouble, phone: str, reason: str
) -> None:
    first = await a_text(road, phone)
    assert (await settled(road, first, "failed"))["error_class"] == "recipient_gone"
    (row,) = await road.admin.fetch("SELECT channel, address, reason FROM notify.suppressions")
    assert tuple(row) == ("sms", phone, reason)
    second = await road.send("sms")
    await settled(road, second, "suppressed")


@pytest.mark.parametrize(
    "config",
    [
        {"providers": []},
        {"providers": [{"type": "twilio"}]},
        {
            "providers": [
                {"type": "twilio", "from": "+1", "account_sid": "AC1", "auth_token": "env:TWILIO_AUTH_TOKEN"}
            ]
        },
        {"max_segments": 0},
    ],
    ids=str,
)
async def test_a_config_that_cannot_be_used_says_so_and_can_be_mended(
    road: Road, double: TwilioDouble, config: dict[str, Any]
) -> None:
    whole = await road.admin.fetchval("SELECT config FROM notify.channels WHERE name = 'sms'")
    await configure(road, **config)
    notification_id = await a_text(road)
    assert (await settled(road, notification_id, "retrying"))["error_class"] == "config"
    await road.admin.execute("UPDATE notify.channels SET config = $1 WHERE name = 'sms'", whole)
    await promoted(road)
    await settled(road, notification_id, "delivered")


async def promoted(road: Road) -> None:
    async def due() -> bool:
        return await road.promote() == 1

    await eventually(due, "the retry is due")


async def unknown(road: Road, double: TwilioDouble, *, taken: bool) -> UUID:
    """The first attempt got no answer."""
    double.double.menu.order(Kind.HANG, taken=taken)
    notification_id = await a_text(road)
    detail = await settled(road, notification_id, "retrying", **SHORT_BUDGET)
    assert detail["error_class"] == "unknown"
    return notification_id


async def test_in_doubt_twilio_is_asked_and_has_it(road: Road, double: TwilioDouble) -> None:
    notification_id = await unknown(road, double, taken=True)
    await promoted(road)
    detail = await settled(road, notification_id, "delivered")
    (received,) = double.double.box.messages
    assert (detail["found"], detail["provider"]) == (True, "twilio")
    assert (detail["provider_message_id"], detail.get("sends", 0)) == (received.id, 0)


async def test_in_doubt_twilio_is_asked_and_has_it_not(road: Road, double: TwilioDouble) -> None:
    notification_id = await unknown(road, double, taken=False)
    await promoted(road)
    detail = await settled(road, notification_id, "delivered")
    assert double.double.box.total == 1
    assert "found" not in detail


async def test_in_doubt_and_twilio_does_not_tell_nothing_is_sent(road: Road, double: TwilioDouble) -> None:
    notification_id = await unknown(road, double, taken=True)
    double.double.menu.order(Kind.ANSWER, status=503)
    await promoted(road)
    async with road.worker("sms"):

        async def asked() -> bool:
            return len(await road.events(notification_id)) == 2

        await eventually(asked, "Twilio was asked in vain")
    _, (_, second) = await road.events(notification_id)
    assert second["error_class"] == "ask"
    assert double.double.box.total == 1
    await promoted(road)
    assert (await settled(road, notification_id, "delivered"))["found"]
    assert double.double.box.total == 1


async def test_the_same_text_of_another_notification_is_not_taken_for_it(
    road: Road, double: TwilioDouble
) -> None:
    doubtful = await unknown(road, double, taken=False)
    twin = await road.send("sms")
    await settled(road, twin, "delivered")
    await promoted(road)
    assert "found" not in await settled(road, doubtful, "delivered")
    assert double.double.box.total == 2


async def test_in_doubt_a_report_is_as_good_as_asking(road: Road, double: TwilioDouble) -> None:
    notification_id = await unknown(road, double, taken=True)
    (received,) = double.double.box.messages
    await road.admin.execute(
        "INSERT INTO notify.sms_messages (message_id, channel, notification_id, status, rank) "
        "VALUES ($1, 'sms', $2, 'sent', 3)",
        received.id,
        notification_id,
    )
    double.double.menu.order(Kind.ANSWER, status=503)  # it is not asked
    await promoted(road)
    detail = await settled(road, notification_id, "delivered")
    assert (detail["found"], detail["provider_message_id"]) == (True, received.id)


async def test_taken_over_from_a_dead_worker_twilio_is_asked(road: Road, double: TwilioDouble) -> None:
    await road.recipient(phone=NUMBER)
    notification_id = await road.notify("sms")
    await road.admin.execute(
        "INSERT INTO notify.deliveries (notification_id, channel, status, attempts, attempts_allowed, lease_token, "
        "lease_until, worker) VALUES ($1, 'sms', 'sending', 1, 8, $2, clock_timestamp() - interval '1 s', 'dead')",
        notification_id,
        uuid4(),
    )
    body = "Thank you"
    sent = double.message({"Body": body, "To": NUMBER, "From": "+15005550006"})
    double.messages[sent["sid"]] = sent
    await road.entry(notification_id, "sms")
    detail = await settled(road, notification_id, "delivered")
    assert (detail["found"], detail["provider_message_id"]) == (True, sent["sid"])
    assert double.double.box.total == 0


async def test_two_accounts_the_second_takes_over(
    road: Road, double: TwilioDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEAD_URL", f"http://127.0.0.1:{any_free()}")
    login = {
        "account_sid": "env:TWILIO_ACCOUNT_SID",
        "auth_token": "env:TWILIO_AUTH_TOKEN",
        "from": "+15005550006",
    }
    await configure(
        road,
        providers=[
            {"type": "twilio", "name": "first", "url": "env:DEAD_URL"} | login,
            {"type": "twilio", "name": "second", "url": "env:TWILIO_URL"} | login,
        ],
    )
    detail = await settled(road, await a_text(road), "delivered")
    assert (detail["provider"], detail["sends"]) == ("second", 1)
    (before,) = detail["tried"]
    assert (before["provider"], before["error_class"], before["sends"]) == ("first", "connection", 0)
    row = await road.admin.fetchval("SELECT provider FROM notify.deliveries")
    assert row == "second"


async def test_what_the_double_saw_is_what_the_timelines_tell(road: Road, double: TwilioDouble) -> None:
    """Refused, throttled, failed, silent: each request that left is on a timeline."""
    await road.recipient(phone=NUMBER)
    menu = double.double.menu
    menu.order(Kind.ANSWER, status=503, times=3)
    menu.order(Kind.ANSWER, status=429, times=1, headers={"Retry-After": "0"})
    menu.order(Kind.RESET, times=2)
    sent = [await road.send("sms") for _ in range(12)]

    async def all_settled() -> bool:
        await road.promote()
        query = "SELECT count(*) FROM notify.deliveries WHERE status = 'delivered'"
        return bool(await road.admin.fetchval(query) == len(sent))

    async with road.worker("sms"):
        await eventually(all_settled, "all are delivered")
    told = await road.admin.fetchval("SELECT sum((detail->>'sends')::int) FROM notify.delivery_events")
    assert told == double.double.box.total + 6
