"""APNs against its double: what is sent, one connection and one provider token for many, and each answer classed."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from db.push import Platform
from outbox.envelope import Priority
from outbox.errors import SettingsError
from outbox.local.doubles.apns import AppleTeam
from outbox.local.doubles.faults import Kind
from tests.workers.pushing import (
    APNS_TOKEN,
    BUDGET_SECONDS,
    NOTIFICATION,
    Apple,
    a_device,
    a_push,
    apple,
    parcel,
)
from workers.apns import Apns, App, identity
from workers.apns_token import NOT_BEFORE_SECONDS, RENEW_SECONDS, Signer, signer
from workers.http2 import Origin
from workers.outcome import (
    Delivered,
    Outcome,
    Permanent,
    RecipientGone,
    Throttled,
    Transient,
    Unknown,
    requests,
)
from workers.push_message import Parcel

TEAM = AppleTeam()


@pytest.fixture
async def ios(tmp_path: Path) -> AsyncIterator[Apple]:
    async with apple(tmp_path) as made:
        yield made


async def test_what_a_device_gets(ios: Apple) -> None:
    outcome = await ios.provider.send(parcel(APNS_TOKEN, Platform.APNS, priority=Priority.URGENT, badge=4))
    [taken] = ios.server.double.box.messages
    assert outcome == Delivered(taken.id)
    assert (taken.to, taken.title, taken.text) == (APNS_TOKEN, "Paid", "Thank you")
    aps = {"alert": {"title": "Paid", "body": "Thank you"}, "badge": 4, "sound": "default"}
    assert taken.details["payload"] == {"order": "7", "aps": aps}
    headers = taken.details["headers"]
    expires = datetime.fromtimestamp(int(headers.pop("apns-expiration")), UTC)
    assert timedelta(minutes=59) < expires - datetime.now(UTC) <= timedelta(hours=1)
    assert headers == {
        "apns-topic": "com.example.outbox",
        "apns-push-type": "alert",
        "apns-priority": "10",
        "apns-collapse-id": str(NOTIFICATION),
        "apns-id": str(identity(NOTIFICATION, APNS_TOKEN)),
    }


async def test_what_can_wait_for_nobody(ios: Apple) -> None:
    await ios.provider.send(parcel(APNS_TOKEN, Platform.APNS, ttl_seconds=0, priority=Priority.BULK))
    headers = ios.server.double.box.messages[0].details["headers"]
    assert (headers["apns-expiration"], headers["apns-priority"]) == ("0", "1")


async def test_the_same_id_for_the_same_push_to_the_same_device(ios: Apple) -> None:
    await ios.send()
    await ios.send()
    await ios.send("ab" * 32)
    first, second, other = (message.id for message in ios.server.double.box.messages)
    assert first == second != other
    assert UUID(first).version == 5


async def test_many_share_one_connection_and_one_provider_token(ios: Apple) -> None:
    sent = (ios.send(f"{i:064x}") for i in range(0xA0000, 0xA0000 + 100))
    assert all(isinstance(outcome, Delivered) for outcome in await asyncio.gather(*sent))
    assert ios.server.double.front.connections == 1
    assert len(ios.server.provider_tokens) == 1


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("dead", RecipientGone("410 Unregistered")),
        ("01d0", RecipientGone("410 ExpiredToken")),
        ("00aa", Transient("throttled_device", "429 TooManyRequests")),
        ("0b0b", Transient("apns_5xx", "500 InternalServerError")),
        ("0ff0", Transient("apns_5xx", "503 ServiceUnavailable")),
    ],
)
async def test_documented_refusals(ios: Apple, token: str, expected: Outcome) -> None:
    assert await ios.send(token * 16) == expected
    assert ios.server.double.box.total == 0
    assert isinstance(await ios.send(), Delivered), "the next one goes through"


@pytest.mark.parametrize(
    ("status", "reason", "headers", "expected"),
    [
        (429, "TooManyProviderTokenUpdates", {}, Throttled("429 TooManyProviderTokenUpdates")),
        (
            429,
            "TooManyRequests",
            {"Retry-After": "9"},
            Transient("throttled_device", "429 TooManyRequests", 9.0),
        ),
        (503, "Shutdown", {"Retry-After": "30"}, Transient("apns_5xx", "503 Shutdown", 30.0)),
        (403, "InvalidProviderToken", {}, Transient("auth", "403 InvalidProviderToken")),
        (413, "PayloadTooLarge", {}, Permanent("too_large", "413 PayloadTooLarge")),
        (400, "BadTopic", {}, Permanent("apns_4xx", "400 BadTopic")),
        (404, "BadPath", {}, Permanent("apns_4xx", "404 BadPath")),
    ],
)
async def test_more_documented_refusals(
    ios: Apple, status: int, reason: str, headers: dict[str, str], expected: Outcome
) -> None:
    ios.server.double.menu.order(Kind.ANSWER, status=status, headers=headers, body={"reason": reason})
    assert await ios.send() == expected


@pytest.mark.parametrize(
    ("token", "reason"), [("bad0", "BadDeviceToken"), ("f0f0", "DeviceTokenNotForTopic")]
)
async def test_a_token_is_not_called_dead_by_a_config_that_may_be_wrong(
    ios: Apple, token: str, reason: str
) -> None:
    """A wrong sandbox or topic makes every token look like this: it must not cost them all."""
    first = await ios.send(token * 16)
    assert isinstance(first, Permanent)
    assert first.error_class == "bad_token"
    await ios.send()
    assert await ios.send(token * 16) == RecipientGone(f"400 {reason}")


@pytest.mark.parametrize(("hours", "dead"), [(-1, False), (0, False), (1, True)])
async def test_a_token_registered_since_apns_found_it_dead_is_kept(
    ios: Apple, hours: int, dead: bool
) -> None:
    registered = datetime(2026, 6, 1, tzinfo=UTC)
    ios.server.gone_at = int((registered + timedelta(hours=hours)).timestamp() * 1000)
    device = a_device("dead" * 16, Platform.APNS, registered)
    ends = asyncio.get_running_loop().time() + 5
    outcome = await ios.provider.send(Parcel(a_push(), device, ends))
    assert isinstance(outcome, RecipientGone if dead else Permanent)


@pytest.mark.parametrize("timestamp", [None, "yesterday", True])
async def test_without_a_time_nothing_is_called_dead(ios: Apple, timestamp: Any) -> None:
    body = {"reason": "Unregistered", "timestamp": timestamp}
    ios.server.double.menu.order(Kind.ANSWER, status=410, body=body)
    assert isinstance(await ios.send(), Permanent)


async def test_a_provider_token_is_renewed_in_time() -> None:
    made = Signer(TEAM.key, TEAM.key_id, TEAM.team_id)
    first = made.token(1_000_000)
    claims = jwt.decode(first, TEAM.key.public_key(), ["ES256"], options={"verify_iat": False})
    assert claims == {"iss": TEAM.team_id, "iat": 1_000_000}
    assert jwt.get_unverified_header(first) == {"alg": "ES256", "kid": TEAM.key_id, "typ": "JWT"}
    assert made.token(1_000_000 + RENEW_SECONDS - 1) == first
    assert made.token(1_000_000 + RENEW_SECONDS + 1) != first


async def test_a_refused_provider_token_is_renewed_no_sooner_than_apns_takes_another() -> None:
    made = Signer(TEAM.key, TEAM.key_id, TEAM.team_id)
    first = made.token(1_000_000)
    assert made.token(1_000_000 + NOT_BEFORE_SECONDS - 1, refused=first) == first
    second = made.token(1_000_000 + NOT_BEFORE_SECONDS, refused=first)
    assert second != first
    assert made.token(1_000_000 + NOT_BEFORE_SECONDS, refused=first) == second, "somebody else has renewed it"


async def test_a_clock_that_was_set_back_does_not_keep_a_provider_token_for_ever() -> None:
    made = Signer(TEAM.key, TEAM.key_id, TEAM.team_id)
    first = made.token(1_000_000)
    assert made.token(900_000) != first


async def test_an_expired_provider_token_is_signed_anew_and_the_push_sent_again(ios: Apple) -> None:
    await ios.send()
    ios.signer._signed_at -= NOT_BEFORE_SECONDS
    ios.server.double.menu.order(Kind.ANSWER, status=403, body={"reason": "ExpiredProviderToken"})
    outcome = await ios.send()
    assert isinstance(outcome, Delivered)
    assert requests(outcome) == 2
    assert len(ios.server.provider_tokens) == 2


async def test_a_fresh_provider_token_that_is_refused_is_not_replaced(ios: Apple) -> None:
    """Our clock is wrong, and a hundred new tokens would not be right."""
    ios.server.double.menu.order(Kind.ANSWER, times=2, status=403, body={"reason": "ExpiredProviderToken"})
    assert await ios.send() == Transient("auth", "403 ExpiredProviderToken")
    assert ios.server.double.menu.served == 1


async def test_another_team_s_key_is_not_let_in(ios: Apple) -> None:
    stranger = Signer(TEAM.key, ios.server.team.key_id, ios.server.team.team_id)
    wrong = Apns(App(ios.server.team.topic, stranger, ios.provider.app.origin))
    outcome = await wrong.send(parcel(APNS_TOKEN, Platform.APNS))
    await wrong.close()
    assert outcome == Transient("auth", "403 InvalidProviderToken")


@pytest.mark.parametrize(
    ("kind", "details", "expected"),
    [
        (Kind.HANG, {"taken": True}, Unknown),
        (Kind.HANG, {}, Unknown),
        (Kind.RESET, {"taken": True}, Unknown),
        (Kind.RESET, {}, Unknown),
        (Kind.SLOW, {"seconds": 0.2}, Delivered),
        (Kind.MALFORMED, {}, Delivered),
        (Kind.ANSWER, {"status": 503, "body": "no JSON"}, Transient),
        (Kind.ANSWER, {"status": 500, "body": '["a list"]'}, Transient),
        (Kind.ANSWER, {"status": 400, "body": {"reason": ["odd"]}}, Permanent),
        (Kind.REFUSED, {}, Transient),
        (Kind.SILENT, {}, Transient),
        (Kind.GARBAGE, {}, Transient),
    ],
)
async def test_faults(ios: Apple, kind: Kind, details: dict[str, Any], expected: type[Outcome]) -> None:
    ios.server.double.menu.order(kind, **details)
    patience = 2 if kind in {Kind.HANG, Kind.SILENT} else BUDGET_SECONDS
    assert isinstance(await ios.send(budget=patience), expected)
    assert isinstance(await ios.send(), Delivered), "the next one goes through"


async def test_a_reset_costs_those_under_way_an_answer_and_nobody_else(ios: Apple) -> None:
    ios.server.double.menu.order(Kind.SLOW, times=10, seconds=20)
    under_way = asyncio.gather(*(ios.send(f"{i:064x}") for i in range(0xA0000, 0xA0000 + 10)))
    async with asyncio.timeout(60):
        while ios.server.double.menu.served < 10:  # noqa: ASYNC110 - the menu tells nobody
            await asyncio.sleep(0.01)
    ios.server.double.front.reset_all()
    assert {type(outcome) for outcome in await under_way} == {Unknown}
    assert isinstance(await ios.send(), Delivered)


async def test_after_a_silence_a_new_connection_serves(ios: Apple) -> None:
    await ios.send()
    ios.server.double.menu.order(Kind.HANG)
    assert isinstance(await ios.send(budget=2), Unknown)
    for _ in range(2):
        assert isinstance(await ios.send(), Delivered)
    assert ios.server.double.front.connections == 2


async def test_a_long_body_is_shortened_to_what_fits(ios: Apple) -> None:
    assert isinstance(await ios.provider.send(parcel(APNS_TOKEN, Platform.APNS, body="🎉" * 3000)), Delivered)
    [taken] = ios.server.double.box.messages
    assert set(taken.text) == {"🎉", "…"}
    assert len(taken.text.encode()) > 3500


async def test_what_is_too_large_even_so_says_why(ios: Apple) -> None:
    outcome = await ios.provider.send(parcel(APNS_TOKEN, Platform.APNS, title="x" * 5000))
    assert isinstance(outcome, Permanent)
    assert (outcome.error_class, "the title has 5000" in outcome.reason) == ("too_large", True)


async def test_a_stranger_s_certificate_is_refused(ios: Apple) -> None:
    trusting = Apns(App(ios.server.team.topic, ios.signer, Origin(ios.server.double.url, direct=True)))
    outcome = await trusting.send(parcel(APNS_TOKEN, Platform.APNS))
    await trusting.close()
    assert isinstance(outcome, Transient)
    assert outcome.error_class == "tls"


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.mark.parametrize(
    "secret",
    [
        "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----",
        "/nowhere/key.p8",
        pem(ec.generate_private_key(ec.SECP384R1())),
        pem(rsa.generate_private_key(65537, 2048)),
    ],
    ids=["no key", "no file", "another curve", "RSA"],
)
def test_a_key_that_is_none_is_not_shown(secret: str) -> None:
    with pytest.raises(SettingsError) as caught:
        signer(secret, "K", "T")
    assert "secret" not in str(caught.value)


def test_a_key_as_a_file_is_one_for_all_lanes(tmp_path: Path) -> None:
    TEAM.write(tmp_path / "key.p8")
    made = signer(str(tmp_path / "key.p8"), "K", "T")
    assert made is signer(str(tmp_path / "key.p8"), "K", "T")
    assert made.key.private_numbers() == TEAM.key.private_numbers()
