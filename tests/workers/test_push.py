"""The push channel on the road: a user's devices, what becomes of each, and what a retry or a crash does."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from outbox.local.doubles.apns import ApnsDouble
from outbox.local.doubles.faults import Kind
from outbox.local.doubles.fcm import FcmDouble
from outbox.local.doubles.http2 import Certificate, over_http2
from outbox.local.doubles.serving import running
from outbox.service import Stop
from tests.workers.conftest import Road
from tests.workers.pushing import APNS_TOKEN
from workers.apns import identity

SEND = "messages:send"


@dataclass
class Pushes:
    """The road to both doubles."""

    road: Road
    fcm: FcmDouble
    apns: ApnsDouble
    config: dict[str, Any]

    async def configure(self, **changed: Any) -> None:
        config = json.dumps(self.config | changed)
        await self.road.admin.execute("UPDATE notify.channels SET config = $1 WHERE name = 'push'", config)

    async def device(self, token: str, platform: str = "fcm", user_id: str = "ada") -> UUID:
        added = await self.road.admin.fetchval(
            "INSERT INTO notify.device_tokens (user_id, platform, token, registered_at) "
            "VALUES ($1, $2, $3, now() - interval '1 minute') RETURNING id",
            user_id,
            platform,
            token,
        )
        assert isinstance(added, UUID)
        return added

    async def send(self, status: str, **columns: Any) -> UUID:
        """Sent, and settled as this status."""
        notification_id = await self.road.send("push", **columns)
        await self.until(notification_id, status)
        return notification_id

    def worker(self, **changes: Any) -> AbstractAsyncContextManager[Stop]:
        """Its lease is long enough for a busy machine."""
        return self.road.worker("push", **{"worker_lease": 30, **changes})

    async def until(self, notification_id: UUID, status: str) -> None:
        await self.road.until(notification_id, status, "push")

    async def tokens(self) -> set[str]:
        return {row["token"] for row in await self.road.admin.fetch("SELECT token FROM notify.device_tokens")}

    async def on_devices(self, notification_id: UUID) -> dict[UUID, tuple[str, int]]:
        rows = await self.road.admin.fetch(
            "SELECT * FROM notify.push_attempts WHERE notification_id = $1", notification_id
        )
        return {row["device_id"]: (row["status"], row["attempt"]) for row in rows}

    def taken(self) -> list[str]:
        messages = [*self.fcm.double.box.messages, *self.apns.double.box.messages]
        return [message.to for message in messages]


@pytest.fixture
async def pushes(road: Road, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pushes]:
    async with both(tmp_path) as (fcm, apns):
        monkeypatch.setenv("FCM_CREDENTIALS", fcm.credentials)
        monkeypatch.setenv("APNS_KEY", apns.team.p8)
        ca = str(tmp_path / "doubles.pem")
        made = Pushes(
            road,
            fcm,
            apns,
            {
                "providers": [
                    {
                        "type": "fcm",
                        "credentials": "env:FCM_CREDENTIALS",
                        "url": fcm.double.url,
                        "ca": ca,
                    },
                    {
                        "type": "apns",
                        "key": "env:APNS_KEY",
                        "key_id": apns.team.key_id,
                        "team_id": apns.team.team_id,
                        "topic": apns.team.topic,
                        "url": apns.double.url,
                        "ca": ca,
                    },
                ]
            },
        )
        await made.configure()
        yield made


@asynccontextmanager
async def both(folder: Path) -> AsyncIterator[tuple[FcmDouble, ApnsDouble]]:
    http = over_http2(Certificate.kept(folder))
    fcm, apns = FcmDouble(), ApnsDouble()
    async with running(fcm.double, http), running(apns.double, http):
        yield fcm, apns


async def test_all_devices_of_a_user_get_it_once(pushes: Pushes) -> None:
    phone, tablet, watch = [
        await pushes.device("phone"),
        await pushes.device("tablet"),
        await pushes.device(APNS_TOKEN, "apns"),
    ]
    await pushes.device("somebody-else", user_id="bob")
    await pushes.road.admin.execute(
        "INSERT INTO notify.inbox_counters (user_id, last_seq, unread) VALUES ('ada', 9, 4)"
    )
    async with pushes.worker():
        sent = await pushes.send("delivered", priority="normal")
        await pushes.road.until_empty("push")
    assert sorted(pushes.taken()) == sorted(["phone", "tablet", APNS_TOKEN])
    assert await pushes.on_devices(sent) == dict.fromkeys((phone, tablet, watch), ("delivered", 1))
    [on_watch] = pushes.apns.double.box.messages
    assert (on_watch.title, on_watch.text, on_watch.details["payload"]["aps"]["badge"]) == (
        "Paid",
        "Thank you",
        4,
    )
    assert on_watch.id == str(identity(sent, APNS_TOKEN))
    android = pushes.fcm.double.box.messages[0].details["android"]
    assert android["notification"] == {"tag": str(sent), "notification_count": 4}
    delivery = await pushes.road.delivery(sent, "push")
    assert delivery is not None
    assert delivery["provider"] == "apns, fcm"
    assert delivery["provider_message_id"]


async def test_urgent_until_it_expires(pushes: Pushes) -> None:
    await pushes.device("phone")
    async with pushes.worker():
        await pushes.send(
            "delivered", priority="urgent", expires_at=datetime.now(UTC) + timedelta(minutes=10)
        )
    android = pushes.fcm.double.box.messages[0].details["android"]
    assert android["priority"] == "HIGH"
    assert 500 < int(android["ttl"].removesuffix("s")) <= 600


async def test_nobody_to_reach_is_a_dead_letter_that_can_be_redriven(pushes: Pushes) -> None:
    async with pushes.worker():
        sent = await pushes.send("failed")
    delivery = await pushes.road.delivery(sent, "push")
    assert delivery is not None
    assert delivery["error_class"] == "no_contact"
    dead = "SELECT error_class FROM notify.notifications_failed WHERE notification_id = $1"
    assert await pushes.road.admin.fetchval(dead, sent) == "no_contact"


async def test_dead_tokens_are_forgotten_and_the_living_get_it(pushes: Pushes) -> None:
    gone, phone = await pushes.device("gone-1"), await pushes.device("phone")
    dead = await pushes.device("dead" * 16, "apns")
    async with pushes.worker():
        sent = await pushes.send("delivered")
        assert await pushes.tokens() == {"phone"}
        assert await pushes.on_devices(sent) == {
            gone: ("gone", 1),
            dead: ("gone", 1),
            phone: ("delivered", 1),
        }
        await pushes.send("delivered")
    assert pushes.taken() == ["phone", "phone"]


async def test_the_last_token_s_death_is_told(pushes: Pushes) -> None:
    await pushes.device("gone-1")
    async with pushes.worker():
        sent = await pushes.send("failed")
    delivery = await pushes.road.delivery(sent, "push")
    assert delivery is not None
    assert (delivery["error_class"], delivery["provider"]) == ("recipient_gone", "fcm")
    assert delivery["reason"] == "404 UNREGISTERED Requested entity was not found."
    assert await pushes.tokens() == set()


async def test_a_retry_goes_only_to_those_that_do_not_have_it(pushes: Pushes) -> None:
    phone, watch = await pushes.device("phone"), await pushes.device(APNS_TOKEN, "apns")
    pushes.apns.double.menu.order(Kind.ANSWER, status=503, body={"reason": "ServiceUnavailable"})
    async with pushes.worker():
        sent = await pushes.send("retrying")
        assert await pushes.on_devices(sent) == {phone: ("delivered", 1), watch: ("retrying", 1)}
        await due(pushes)
        await pushes.until(sent, "delivered")
    assert sorted(pushes.taken()) == sorted(["phone", APNS_TOKEN])
    assert await pushes.on_devices(sent) == {phone: ("delivered", 1), watch: ("delivered", 2)}
    (event, detail), _ = await pushes.road.events(sent)
    assert (event, detail["provider"], detail["error_class"]) == ("retrying", "apns", "apns_5xx")
    assert detail["reason"] == "1 of 2 devices, one of them: 503 ServiceUnavailable"


async def test_one_device_reached_is_delivered_when_the_other_never_answers(pushes: Pushes) -> None:
    await pushes.device("phone")
    watch = await pushes.device(APNS_TOKEN, "apns")
    await pushes.road.admin.execute("UPDATE notify.channels SET max_attempts = 2 WHERE name = 'push'")
    pushes.apns.double.menu.order(Kind.ANSWER, times=None, status=500)
    async with pushes.worker():
        sent = await pushes.send("retrying")
        await due(pushes)
        await pushes.until(sent, "delivered")
    assert (await pushes.on_devices(sent))[watch] == ("retrying", 2)
    delivery = await pushes.road.delivery(sent, "push")
    assert delivery is not None
    assert delivery["reason"] == "500", "what the other one said last"
    assert pushes.taken() == ["phone"]


@pytest.mark.parametrize(("policy", "status"), [("resend", "retrying"), ("hold", "unknown")])
async def test_silence_is_for_the_channel_to_judge(pushes: Pushes, policy: str, status: str) -> None:
    phone = await pushes.device("phone")
    await pushes.road.admin.execute("UPDATE notify.channels SET on_unknown = $1 WHERE name = 'push'", policy)
    pushes.fcm.double.menu.order(Kind.RESET, taken=True, path=SEND)
    async with pushes.worker():
        sent = await pushes.send(status)
        assert await pushes.on_devices(sent) == {phone: ("unknown", 1)}
        if policy == "resend":
            await due(pushes)
            await pushes.until(sent, "delivered")
    tags = [message.details["android"]["notification"]["tag"] for message in pushes.fcm.double.box.messages]
    assert tags == [str(sent)] * (2 if policy == "resend" else 1), "shown once, however often it came"


async def test_a_worker_that_died_after_sending_is_followed_by_one_that_sends_the_same(
    pushes: Pushes,
) -> None:
    """The first one's claim, and nothing recorded: as a crash between the answer and the settle leaves it."""
    await pushes.device(APNS_TOKEN, "apns")
    sent = await pushes.road.notify("push")
    await pushes.road.admin.execute(
        "INSERT INTO notify.deliveries (notification_id, channel, status, attempts, attempts_allowed, lease_token, "
        "lease_until) VALUES ($1, 'push', 'sending', 1, 8, gen_random_uuid(), now() - interval '1 second')",
        sent,
    )
    await pushes.road.entry(sent, "push")
    async with pushes.worker():
        await pushes.until(sent, "delivered")
    [again] = pushes.apns.double.box.messages
    headers = again.details["headers"]
    assert (headers["apns-id"], headers["apns-collapse-id"]) == (str(identity(sent, APNS_TOKEN)), str(sent))
    assert [event for event, _ in await pushes.road.events(sent)] == ["taken_over", "delivered"]


async def test_a_throttled_provider_is_left_alone_and_the_other_goes_on(pushes: Pushes) -> None:
    await pushes.device("phone")
    await pushes.device(APNS_TOKEN, "apns", user_id="bob")
    pushes.fcm.double.menu.order(Kind.ANSWER, status=429, headers={"Retry-After": "30"}, path=SEND)
    async with pushes.worker(retry_cap=60):
        throttled = await pushes.send("retrying")
        waiting = await pushes.send("deferred")
        await pushes.send("delivered", user_id="bob")
    assert pushes.fcm.double.menu.served == 1
    _, detail = (await pushes.road.events(throttled))[0]
    assert (detail["error_class"], detail["retry_in_seconds"]) == ("throttled", 30.0)
    _, detail = (await pushes.road.events(waiting))[0]
    assert (detail["error_class"], detail.get("sends", 0)) == ("throttled", 0)


async def test_a_throttled_device_is_alone_in_that(pushes: Pushes) -> None:
    await pushes.device("00aa" * 16, "apns")
    await pushes.device(APNS_TOKEN, "apns", user_id="bob")
    async with pushes.worker():
        for _ in range(6):  # more than would open a circuit
            await pushes.send("retrying")
        await pushes.send("delivered", user_id="bob")


async def test_past_a_recipients_rate_a_push_is_put_off_however_many_devices(pushes: Pushes) -> None:
    await pushes.device("phone")
    await pushes.device("tablet")
    await pushes.configure(recipient_rate="1/minute")
    async with pushes.worker():
        await pushes.send("delivered")
        second = await pushes.send("deferred")
    _, detail = (await pushes.road.events(second))[0]
    assert detail["error_class"] == "rate_limited"
    assert len(pushes.taken()) == 2


async def test_past_a_providers_rate_its_platform_waits(pushes: Pushes) -> None:
    await pushes.device("phone")
    await pushes.device(APNS_TOKEN, "apns", user_id="bob")
    fcm, apns = pushes.config["providers"]
    await pushes.configure(providers=[fcm | {"rate": "1/minute"}, apns])
    async with pushes.worker():
        await pushes.send("delivered")
        await pushes.send("deferred")
        await pushes.send("delivered", user_id="bob")


async def test_a_provider_without_its_secret_holds_up_only_its_own_devices(
    pushes: Pushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("APNS_KEY")
    await pushes.device("phone", user_id="bob")
    await pushes.device(APNS_TOKEN, "apns")
    async with pushes.worker():
        waiting = await pushes.send("retrying")
        await pushes.send("delivered", user_id="bob")
    _, detail = (await pushes.road.events(waiting))[0]
    assert detail["error_class"] == "config"
    assert "APNS_KEY is not set" in detail["reason"]


async def test_a_wrong_config_is_said_and_waited_for(pushes: Pushes) -> None:
    await pushes.device("phone")
    await pushes.configure(providers=None)
    async with pushes.worker():
        sent = await pushes.send("retrying")
        _, detail = (await pushes.road.events(sent))[0]
        assert detail["error_class"] == "config"
        assert "providers is missing" in detail["reason"]
        await pushes.configure()
        await due(pushes)
        await pushes.until(sent, "delivered")


async def test_a_push_too_large_is_a_dead_letter_that_says_so(pushes: Pushes) -> None:
    await pushes.device("phone")
    async with pushes.worker():
        sent = await pushes.send("failed", payload={"title": "t", "data": {"blob": "x" * 5000}})
    _, detail = (await pushes.road.events(sent))[-1]
    assert detail["error_class"] == "too_large"


async def test_an_hour_down_ends_where_a_person_looks(pushes: Pushes) -> None:
    await pushes.device("phone")
    await pushes.road.admin.execute("UPDATE notify.channels SET max_attempts = 3 WHERE name = 'push'")
    pushes.fcm.double.menu.order(Kind.ANSWER, times=None, status=503, path=SEND)
    async with pushes.worker():
        sent = await pushes.send("retrying")
        for _ in range(2):
            await due(pushes)
        await pushes.until(sent, "failed")
    assert [event for event, _ in await pushes.road.events(sent)] == ["retrying", "retrying", "failed"]


async def test_a_hundred_devices_share_a_connection(pushes: Pushes) -> None:
    for number in range(100):
        await pushes.device(f"phone-{number}")
    async with pushes.worker():
        await pushes.send("delivered")
    assert len(pushes.taken()) == 100
    assert pushes.fcm.double.front.connections == 2, "the access token's, and that of all pushes"


async def due(pushes: Pushes) -> None:
    """Until the retry is due, and in the stream."""
    async with asyncio.timeout(60):
        while not await pushes.road.promote():  # noqa: ASYNC110 - a row becomes due without telling
            await asyncio.sleep(0.02)
