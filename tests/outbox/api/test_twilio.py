"""Twilio's callbacks: only what it signed, whatever the order, once."""

import itertools
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from twilio.request_validator import RequestValidator

from db.pool import Connection
from outbox.settings import Settings
from outbox.twilio import START, STOP, callback_url
from tests.outbox.api.answers import problem

TOKEN = "the-token"
SID = "SM" + "0" * 32
OTHER = "SM" + "1" * 32
TO = "+15005550010"
ORDERS = [order for order in itertools.product(("sent", "delivered"), repeat=3) if len(set(order)) == 2]
Report = Callable[..., Awaitable[httpx.Response]]


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ACCOUNT_SID", "AC1"), ("AUTH_TOKEN", TOKEN), ("FROM", "+15005550006")):
        monkeypatch.setenv(f"TWILIO_{name}", value)


@pytest.fixture
async def sent(admin: Connection, producer: Connection) -> UUID:
    """A delivery that Twilio has taken, as the worker settles it."""
    return await a_delivery(admin, producer, "delivered", SID)


async def a_delivery(admin: Connection, producer: Connection, status: str, message_id: str | None) -> UUID:
    identity = uuid4()
    await producer.execute(
        "INSERT INTO notify.outbox (notification_id, event_type, user_id, channels) VALUES ($1, 'a', 'ada', '{sms}')",
        identity,
    )
    await admin.execute(
        "INSERT INTO notify.deliveries (notification_id, channel, status, attempts, attempts_allowed, provider, "
        "provider_message_id) VALUES ($1, 'sms', $2, 1, 8, 'twilio', $3)",
        identity,
        status,
        message_id,
    )
    return identity


def sign(url: str, params: Mapping[str, str], token: str = TOKEN) -> dict[str, str]:
    return {"X-Twilio-Signature": RequestValidator(token).compute_signature(url, params)}


@pytest.fixture
def report(api: httpx.AsyncClient, settings: Settings, sent: UUID) -> Report:
    async def call(
        status: str, code: int | None = None, sid: str = SID, notification: UUID = sent
    ) -> httpx.Response:
        url = callback_url(settings.public_api_url, "sms", notification)
        params = {"MessageSid": sid, "MessageStatus": status, "To": TO, "From": "+15005550006"}
        if code:
            params["ErrorCode"] = str(code)
        path = url.removeprefix(settings.public_api_url)
        return await api.post(path, data=params, headers=sign(url, params))

    return call


async def events(admin: Connection, notification_id: UUID) -> list[tuple[str, Any]]:
    rows = await admin.fetch(
        "SELECT event, detail FROM notify.delivery_events WHERE notification_id = $1 ORDER BY at",
        notification_id,
    )
    return [(row["event"], json.loads(row["detail"])) for row in rows]


async def delivery(admin: Connection, notification_id: UUID) -> tuple[Any, ...]:
    row = await admin.fetchrow(
        "SELECT status, error_class, reason, provider_message_id FROM notify.deliveries WHERE notification_id = $1",
        notification_id,
    )
    assert row is not None
    return tuple(row)


async def test_sent_and_delivered_are_on_the_timeline(admin: Connection, sent: UUID, report: Report) -> None:
    for status in ("queued", "sent", "delivered"):
        assert (await report(status)).status_code == 204
    told = await events(admin, sent)
    assert [event for event, _ in told] == ["sent", "delivered"]
    assert told[1][1] == {"by": "callback", "provider": "twilio", "provider_message_id": SID}
    assert await delivery(admin, sent) == ("delivered", None, None, SID)


@pytest.mark.parametrize("order", ORDERS, ids=str)
async def test_in_any_order_and_twice(
    admin: Connection, sent: UUID, report: Report, order: tuple[str, ...]
) -> None:
    for status in order:
        await report(status)
    told = [event for event, _ in await events(admin, sent)]
    assert told == (["sent", "delivered"] if order[0] == "sent" else ["delivered"])


async def test_undelivered_is_a_dead_letter(admin: Connection, sent: UUID, report: Report) -> None:
    await report("undelivered", 30003)
    await report("undelivered", 30003)
    reason = "30003 the handset cannot be reached"
    assert await delivery(admin, sent) == ("failed", "undelivered", reason, SID)
    letters = await admin.fetch(
        "SELECT notification_id, error_class, reason FROM notify.notifications_failed"
    )
    assert [tuple(row) for row in letters] == [(sent, "undelivered", reason)]
    ((event, detail),) = await events(admin, sent)
    assert (event, detail["error_code"], detail["reason"]) == ("undelivered", 30003, reason)
    assert await admin.fetchval("SELECT count(*) FROM notify.suppressions") == 0


@pytest.mark.parametrize("code", [30005, 30006])
async def test_a_number_that_is_none_is_suppressed(admin: Connection, report: Report, code: int) -> None:
    await report("undelivered", code)
    (row,) = await admin.fetch("SELECT channel, address, reason FROM notify.suppressions")
    assert tuple(row)[:2] == ("sms", TO)
    assert row["reason"].startswith(str(code))


@pytest.mark.parametrize("code", [30001, 30002, 30004, 30007, 30008, 39999, None])
async def test_one_that_may_be_fine_is_not(admin: Connection, report: Report, code: int | None) -> None:
    await report("failed", code)
    assert await admin.fetchval("SELECT count(*) FROM notify.suppressions") == 0
    assert await admin.fetchval("SELECT status FROM notify.deliveries") == "failed"


async def test_delivered_after_undelivered_changes_nothing(
    admin: Connection, sent: UUID, report: Report
) -> None:
    await report("undelivered", 30008)
    await report("delivered")
    assert (await delivery(admin, sent))[0] == "failed"


@pytest.mark.parametrize("status", ["unknown", "retrying"])
@pytest.mark.parametrize("word", ["queued", "sent", "delivered"])
async def test_a_report_settles_what_nobody_knew(
    admin: Connection, producer: Connection, report: Report, status: str, word: str
) -> None:
    doubtful = await a_delivery(admin, producer, status, None)
    await admin.execute(
        "INSERT INTO notify.notifications_failed (notification_id, channel, error_class, reason) "
        "VALUES ($1, 'sms', 'unknown', 'silence')",
        doubtful,
    )
    await report(word, sid=OTHER, notification=doubtful)
    assert await delivery(admin, doubtful) == ("delivered", None, None, OTHER)
    assert await admin.fetchval("SELECT count(*) FROM notify.notifications_failed") == 0
    assert len(await events(admin, doubtful)) == 1


async def test_a_report_settles_what_a_digest_held(
    admin: Connection, producer: Connection, report: Report
) -> None:
    digest, item = [await a_delivery(admin, producer, status, None) for status in ("unknown", "digested")]
    await admin.execute(
        "INSERT INTO notify.digests (id, user_id, channel, key, closes_at, closed_at)"
        " VALUES ($1, 'ada', 'sms', 'k', now(), now())",
        digest,
    )
    await admin.execute("INSERT INTO notify.digest_items VALUES ($1, 'sms', $2)", item, digest)
    await report("sent", sid=OTHER, notification=digest)
    assert (await delivery(admin, item))[0] == "delivered"
    assert await events(admin, item) == [("delivered", {"digested_into": str(digest)})]


async def test_a_message_that_another_attempt_replaced_fails_nothing(
    admin: Connection, sent: UUID, report: Report
) -> None:
    await report("undelivered", 30008, sid=OTHER)
    assert (await delivery(admin, sent))[0] == "delivered"


async def test_a_message_belongs_to_one_notification(
    admin: Connection, producer: Connection, sent: UUID, report: Report
) -> None:
    await report("sent")
    other = await a_delivery(admin, producer, "delivered", None)
    await report("undelivered", 30005, notification=other)
    assert (await delivery(admin, other))[0] == "delivered"
    assert await events(admin, other) == []


@pytest.mark.parametrize(
    "spoilt", [{"sid": "SM1"}, {"status": "flown"}, {"notification": UUID(int=1)}], ids=str
)
async def test_what_concerns_nobody_is_passed_over(
    admin: Connection, sent: UUID, report: Report, spoilt: dict[str, Any]
) -> None:
    answer = await report(**{"status": "delivered"} | spoilt)
    assert answer.status_code == 204
    assert await events(admin, sent) == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Twilio-Signature": ""},
        {"X-Twilio-Signature": "AAAA"},
        {"X-Twilio-Signature": "ä".encode("latin-1")},
    ],
    ids=str,
)
async def test_what_is_not_signed_is_refused(
    api: httpx.AsyncClient, admin: Connection, sent: UUID, headers: dict[str, Any]
) -> None:
    path = callback_url("", "sms", sent)
    answer = await api.post(path, data={"MessageSid": SID, "MessageStatus": "delivered"}, headers=headers)
    problem(answer, 403, "forbidden")
    assert await events(admin, sent) == []


@pytest.mark.parametrize("change", ["token", "url", "params"])
async def test_a_signature_is_for_one_request(
    api: httpx.AsyncClient, settings: Settings, sent: UUID, change: str
) -> None:
    url = callback_url(settings.public_api_url, "sms", sent)
    params = {"MessageSid": SID, "MessageStatus": "delivered"}
    headers = sign(url, params, "another" if change == "token" else TOKEN)
    if change == "url":
        url = callback_url(settings.public_api_url, "sms", uuid4())
    if change == "params":
        params["MessageStatus"] = "failed"
    answer = await api.post(url.removeprefix(settings.public_api_url), data=params, headers=headers)
    problem(answer, 403, "forbidden")


async def test_without_the_token_nothing_is_believed(
    api: httpx.AsyncClient, settings: Settings, sent: UUID, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TWILIO_AUTH_TOKEN")
    problem(await report("delivered"), 403, "forbidden")


@pytest.mark.parametrize("channel", ["nosuch", "a\x00b", "email"])
async def test_another_channel_has_no_such_account(
    api: httpx.AsyncClient, settings: Settings, sent: UUID, channel: str
) -> None:
    url = callback_url(settings.public_api_url, channel, sent)
    answer = await api.post(
        url.removeprefix(settings.public_api_url), data={"a": "b"}, headers=sign(url, {"a": "b"})
    )
    problem(answer, 403, "forbidden")


async def test_too_much_is_refused_before_anything_else(api: httpx.AsyncClient) -> None:
    answer = await api.post(
        "/v1/callbacks/twilio", content=b"a=" + b"x" * 70_000, headers={"X-Twilio-Signature": "A"}
    )
    problem(answer, 413, "too-large")


@pytest.mark.parametrize("body", [b"a=\xff", b"&".join(b"a=1" for _ in range(300))])
async def test_what_is_no_form_is_refused(api: httpx.AsyncClient, body: bytes) -> None:
    problem(await api.post("/v1/callbacks/twilio", content=body), 400, "malformed")


@pytest.fixture
def say(api: httpx.AsyncClient, settings: Settings) -> Callable[[str], Awaitable[httpx.Response]]:
    async def call(words: str) -> httpx.Response:
        path = "/v1/callbacks/twilio/inbound"
        params = {"From": TO, "To": "+15005550006", "Body": words, "MessageSid": OTHER}
        return await api.post(path, data=params, headers=sign(settings.public_api_url + path, params))

    return call


@pytest.mark.parametrize("word", sorted(STOP))
async def test_stop_suppresses_the_number_once(
    admin: Connection, say: Callable[[str], Awaitable[httpx.Response]], word: str
) -> None:
    for spelling in (f" {word.lower()}\n", word):
        answer = await say(spelling)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/xml; charset=utf-8")
    assert answer.text.endswith("<Response/>")
    (row,) = await admin.fetch("SELECT channel, address, reason FROM notify.suppressions")
    assert tuple(row) == ("sms", TO, "unsubscribed: STOP by the recipient")


@pytest.mark.parametrize("word", sorted(START))
async def test_start_lifts_it_again(
    admin: Connection, say: Callable[[str], Awaitable[httpx.Response]], word: str
) -> None:
    await say("STOP")
    await say(word)
    assert await admin.fetchval("SELECT count(*) FROM notify.suppressions") == 0


async def test_start_does_not_lift_what_somebody_else_has_put_there(
    admin: Connection, say: Callable[[str], Awaitable[httpx.Response]]
) -> None:
    await admin.execute(
        "INSERT INTO notify.suppressions (channel, address, reason) VALUES ('sms', $1, 'complaint')", TO
    )
    await say("START")
    assert await admin.fetchval("SELECT reason FROM notify.suppressions") == "complaint"


async def test_other_words_change_nothing(
    admin: Connection, say: Callable[[str], Awaitable[httpx.Response]]
) -> None:
    assert (await say("please stop it")).status_code == 200
    assert await admin.fetchval("SELECT count(*) FROM notify.suppressions") == 0


async def test_what_a_stranger_says_changes_nothing(api: httpx.AsyncClient, admin: Connection) -> None:
    answer = await api.post("/v1/callbacks/twilio/inbound", data={"From": TO, "Body": "STOP"})
    problem(answer, 403, "forbidden")
    assert await admin.fetchval("SELECT count(*) FROM notify.suppressions") == 0
