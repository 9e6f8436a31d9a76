"""The pipeline against what goes wrong: two workers, dead ones, repeats, refusals, outages, a stop in the middle."""

import asyncio
import json
import time
from uuid import UUID, uuid4

import pytest

from outbox.errors import SettingsError
from outbox.inbox import InboxChange
from outbox.service import Stop
from outbox.settings import Settings
from outbox.streams import GROUP
from tests.conftest import cut_off
from tests.hints import hints
from tests.workers.conftest import Road, eventually
from tests.workers.mail import DROP, MailServer, mail_server
from workers.circuit import Circuit, Limits
from workers.main import main


async def test_two_workers_deliver_each_once(road: Road) -> None:
    sent = [await road.send(user_id=f"user-{number % 7}") for number in range(300)]
    async with road.worker(), road.worker():
        await road.until_empty()
    rows = await road.admin.fetch("SELECT notification_id FROM notify.inbox")
    assert sorted(row["notification_id"] for row in rows) == sorted(sent)
    events = await road.admin.fetch("SELECT event, count(*) FROM notify.delivery_events GROUP BY event")
    assert [tuple(row) for row in events] == [("delivered", 300)]


async def test_an_entry_that_comes_twice_is_delivered_once(road: Road, mail: MailServer) -> None:
    await road.recipient()
    notification_id = await road.send("email")
    async with road.worker("email"):
        await road.until(notification_id, "delivered", "email")
        await road.entry(notification_id, "email")
        await road.until_empty("email")
    assert len(mail.mails) == 1
    assert [event for event, _ in await road.events(notification_id)] == ["delivered"]


async def test_twice_in_one_batch(road: Road) -> None:
    notification_id = await road.notify()
    await road.entry(notification_id)
    await road.entry(notification_id)
    async with road.worker(worker_lease=2):  # one of the two is left for the next look
        await road.until_empty()
    assert await road.admin.fetchval("SELECT count(*) FROM notify.inbox") == 1


async def test_delivered_inapp_is_hinted_again(road: Road) -> None:
    """The worker that delivered it may have died before it published."""
    notification_id = await road.send()
    async with road.worker():
        await road.until_empty()
        async with hints(road.settings.redis, road.settings.keys.user("ada")) as heard, asyncio.timeout(60):
            await road.entry(notification_id)
            change = InboxChange.model_validate_json(await heard())
    assert (change.version, change.last_seq, change.unread, change.item) == (1, 1, 1, None)


async def test_entries_of_a_dead_consumer_are_taken_over(road: Road) -> None:
    notification_id = await road.send()
    stream = road.settings.keys.stream("inapp")
    await road.redis.xgroup_create(stream, GROUP, id="0", mkstream=True)
    await road.redis.xreadgroup(GROUP, "dead", {stream: ">"})
    await road.admin.execute(
        "INSERT INTO notify.deliveries (notification_id, channel, status, attempts, attempts_allowed, lease_token, "
        "lease_until, worker) VALUES ($1, 'inapp', 'sending', 1, 8, $2, clock_timestamp() + interval '1 s', 'dead')",
        notification_id,
        uuid4(),
    )
    async with road.worker(worker_lease=3):
        await road.until(notification_id, "delivered")
        await road.until_empty()
    row = await road.delivery(notification_id)
    assert row is not None
    assert row["attempts"] == 2
    assert [event for event, _ in await road.events(notification_id)] == ["taken_over", "delivered"]


async def test_a_lost_mail_is_held_where_the_channel_says_so(road: Road, mail: MailServer) -> None:
    await road.admin.execute("UPDATE notify.channels SET on_unknown = 'hold' WHERE name = 'email'")
    await road.recipient()
    notification_id = await road.notify("email")
    await road.admin.execute(
        "INSERT INTO notify.deliveries (notification_id, channel, status, attempts, attempts_allowed, lease_token, "
        "lease_until, worker) VALUES ($1, 'email', 'sending', 1, 8, $2, clock_timestamp() - interval '1 s', 'dead')",
        notification_id,
        uuid4(),
    )
    await road.entry(notification_id, "email")
    async with road.worker("email"):
        await road.until(notification_id, "unknown", "email")
    assert mail.mails == []
    assert await road.admin.fetchval("SELECT error_class FROM notify.notifications_failed") == "unknown"


async def test_a_transient_failure_is_tried_again_through_scheduled(road: Road, mail: MailServer) -> None:
    await road.recipient()
    mail.data = ["451 4.3.0 busy", "451 4.3.0 busy"]
    notification_id = await road.send("email")
    async with road.worker("email"):
        for _ in range(2):
            await road.until(notification_id, "retrying", "email")
            await road.until_empty("email")

            async def due() -> bool:
                return await road.promote() == 1

            await eventually(due, "the retry is due")
            await road.until_empty("email")
        await road.until(notification_id, "delivered", "email")
    events = await road.events(notification_id)
    assert [event for event, _ in events] == ["retrying", "retrying", "delivered"]
    assert events[0][1]["error_class"] == "smtp_4xx"
    assert events[0][1]["reason"] == "451 4.3.0 busy"
    assert 0 < events[0][1]["retry_in_seconds"] <= 0.2
    row = await road.delivery(notification_id, "email")
    assert row is not None
    assert row["attempts"] == 3
    assert len(set(mail.message_ids)) == 1


async def test_a_retry_row_is_for_this_channel_and_the_next_attempt(road: Road, mail: MailServer) -> None:
    await road.recipient()
    mail.data = ["451 busy"]
    notification_id = await road.send("email")
    async with road.worker("email", retry_base=300, retry_cap=3600):
        await road.until(notification_id, "retrying", "email")
    row = await road.admin.fetchrow(
        "SELECT *, extract(epoch FROM due_at - clock_timestamp())::float8 AS left FROM notify.scheduled"
    )
    assert row is not None
    assert (row["channels"], row["attempt"], row["reason"]) == (["email"], 1, "retry")
    assert 200 < row["left"] < 380


async def test_dead_after_the_last_attempt(road: Road, mail: MailServer) -> None:
    await road.admin.execute("UPDATE notify.channels SET max_attempts = 2 WHERE name = 'email'")
    await road.recipient()
    mail.data = ["451 busy"] * 2
    notification_id = await road.send("email")
    async with road.worker("email"):
        await road.until(notification_id, "retrying", "email")

        async def due() -> bool:
            return await road.promote() == 1

        await eventually(due, "the retry is due")
        await road.until(notification_id, "failed", "email")
        await road.until_empty("email")
    row = await road.admin.fetchrow("SELECT * FROM notify.notifications_failed")
    assert row is not None
    assert (row["notification_id"], row["channel"], row["error_class"], row["attempts"]) == (
        notification_id,
        "email",
        "smtp_4xx",
        2,
    )
    assert row["stream"] == road.settings.keys.stream("email")
    assert await road.admin.fetchval("SELECT count(*) FROM notify.scheduled") == 0


async def test_a_permanent_failure_is_dead_at_once_without_the_address(road: Road, mail: MailServer) -> None:
    await road.recipient()
    mail.rcpt = ["550 5.1.1 <ada@example.com>: no such user"]
    notification_id = await road.send("email")
    async with road.worker("email"):
        await road.until(notification_id, "failed", "email")
    row = await road.admin.fetchrow("SELECT * FROM notify.notifications_failed")
    assert row is not None
    assert (row["error_class"], row["reason"]) == ("recipient_gone", "550 5.1.1 <***@***>: no such user")
    assert "ada@" not in json.dumps(await road.events(notification_id))


async def test_an_unknown_end_is_sent_again_with_the_same_message_id(road: Road, mail: MailServer) -> None:
    await road.recipient()
    mail.after_data = [DROP]
    notification_id = await road.send("email")
    async with road.worker("email"):
        await road.until(notification_id, "retrying", "email")

        async def due() -> bool:
            return await road.promote() == 1

        await eventually(due, "the retry is due")
        await road.until(notification_id, "delivered", "email")
    assert len(mail.message_ids) == 2
    assert len(set(mail.message_ids)) == 1
    events = await road.events(notification_id)
    assert events[0][1]["error_class"] == "unknown"


async def test_an_undecodable_entry_is_buried_with_its_bytes(road: Road) -> None:
    entry_id = await road.append({b"envelope": b"\xff\x00no json", b"attempt": b"0"})
    good = await road.send()
    async with road.worker():
        await road.until(good, "delivered")
        await road.until_empty()
    row = await road.admin.fetchrow("SELECT * FROM notify.notifications_failed")
    assert row is not None
    assert json.loads(row["raw"]) == {"envelope": "\xff\x00no json", "attempt": "0"}
    assert (row["error_class"], row["entry_id"], row["notification_id"]) == (
        "undecodable",
        entry_id.decode(),
        None,
    )
    assert row["stream"] == road.settings.keys.stream("inapp")


async def test_a_stale_attempt_is_dropped(road: Road, mail: MailServer) -> None:
    await road.recipient()
    notification_id = await road.notify("email")
    await road.admin.execute(
        "INSERT INTO notify.deliveries (notification_id, channel, status, attempts, attempts_allowed) "
        "VALUES ($1, 'email', 'retrying', 2, 8)",
        notification_id,
    )
    await road.entry(notification_id, "email", attempt=1)
    async with road.worker("email"):
        await road.until_empty("email")
    assert mail.mails == []
    assert await road.status(notification_id, "email") == "retrying"


async def test_an_erased_notification_is_dropped(road: Road) -> None:
    notification_id = await road.send()
    await road.admin.execute("DELETE FROM notify.notifications WHERE id = $1", notification_id)
    async with road.worker():
        await road.until_empty()


@pytest.mark.parametrize(
    ("arrange", "status", "reason"),
    [
        (
            "INSERT INTO notify.user_channel_prefs (user_id, channel, enabled) VALUES ('ada', 'email', false)",
            "suppressed",
            "switched off by the recipient",
        ),
        (
            "UPDATE notify.channels SET enabled = false WHERE name = 'email'",
            "suppressed",
            "channel email is switched off",
        ),
        (
            "INSERT INTO notify.suppressions (channel, address, reason) VALUES ('email', 'ada@example.com', 'bounced')",
            "suppressed",
            "the address is on the suppression list: bounced",
        ),
        (
            "DELETE FROM notify.recipients",
            "failed",
            "no contact for channel email is known of this recipient",
        ),
        ("UPDATE notify.notifications SET canceled_at = now()", "canceled", "canceled before it was sent"),
        (
            "UPDATE notify.notifications SET expires_at = '2020-01-01+00'",
            "expired",
            "expires_at was over before it was sent",
        ),
    ],
)
async def test_the_timeline_says_why_nothing_was_sent(
    road: Road, mail: MailServer, arrange: str, status: str, reason: str
) -> None:
    await road.recipient()
    notification_id = await road.send("email")
    await road.admin.execute(arrange)
    async with road.worker("email"):
        await road.until(notification_id, status, "email")
        await road.until_empty("email")
    assert mail.mails == []
    ((event, detail),) = await road.events(notification_id)
    assert (event, detail["reason"]) == (status, reason)
    row = await road.delivery(notification_id, "email")
    assert row is not None
    assert (row["attempts"], row["reason"]) == (0, reason)
    dead = await road.admin.fetchval("SELECT count(*) FROM notify.notifications_failed")
    assert dead == (1 if status == "failed" else 0)


async def test_a_template_that_raises_is_a_clear_permanent_failure(road: Road, mail: MailServer) -> None:
    await road.admin.execute(
        "INSERT INTO notify.templates (name, channel, subject, body_text) VALUES "
        "('bad', 'email', 'x', E'line one\\n{{ payload.nmae }}')"
    )
    await road.recipient()
    bad = await road.send("email", template_name="bad")
    good = await road.send("email")
    async with road.worker("email"):
        await road.until(bad, "failed", "email")
        await road.until(good, "delivered", "email")
    row = await road.delivery(bad, "email")
    assert row is not None
    assert row["error_class"] == "template"
    assert row["reason"].startswith("template 'bad' version 1, text line 2: ")


async def test_a_group_made_again_after_flushdb(road: Road) -> None:
    async with road.worker():
        first = await road.send()
        await road.until(first, "delivered")
        await road.until_empty()
        await road.redis.flushdb()
        second = await road.send()
        await road.until(second, "delivered")
        await road.until_empty()


async def test_a_changed_config_is_used_by_the_next_mail(
    road: Road, mail: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await road.recipient()
    async with mail_server() as other, road.worker("email"):
        monkeypatch.setenv("OTHER_URL", f"smtp://127.0.0.1:{other.port}")
        first = await road.send("email")
        await road.until(first, "delivered", "email")
        await road.admin.execute(
            """UPDATE notify.channels SET config = '{"smtp_url": "env:OTHER_URL", "from": "x@new.example"}' """
            "WHERE name = 'email'"
        )
        second = await road.send("email")
        await road.until(second, "delivered", "email")
        assert (len(mail.mails), other.message_ids) == (1, [f"<{second}.email@new.example>"])


async def test_a_secret_that_is_not_set_is_told_and_tried_again(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SMTP_URL", raising=False)
    await road.recipient()
    notification_id = await road.send("email")
    async with road.worker("email"):
        await road.until(notification_id, "retrying", "email")
    ((_, detail),) = await road.events(notification_id)
    assert detail["error_class"] == "config"
    assert "SMTP_URL is not set" in detail["reason"]


async def test_urgent_overtakes_a_full_bulk_lane(road: Road, mail: MailServer) -> None:
    await road.recipient()
    mail.gate.clear()  # no mail gets through: the bulk lane fills up
    bulk = [await road.send("email", priority="bulk") for _ in range(8)]
    async with road.worker("email", worker_concurrency=4, worker_lease=30):

        async def full() -> bool:
            return len(mail.sessions) >= 4

        await eventually(full, "the bulk lane is full")
        urgent = await road.send("email", priority="urgent")

        async def sending() -> bool:
            return await road.status(urgent, "email") == "sending"

        await eventually(sending, "the urgent one is being sent")
        assert len([one for one in bulk if await road.status(one, "email")]) == 4, (
            "no more than the lane holds"
        )
        mail.gate.set()
        await road.until(urgent, "delivered", "email")
        await road.until_empty("email", "bulk")
    assert len(mail.mails) == 9


async def test_one_slow_message_does_not_hold_up_its_lane(road: Road, mail: MailServer) -> None:
    await road.recipient()
    mail.gate.clear()
    slow = await road.send("email")
    async with road.worker("email", worker_concurrency=2, worker_lease=30):

        async def sending() -> bool:
            return await road.status(slow, "email") == "sending"

        await eventually(sending, "the slow one is being sent")
        await road.admin.execute(
            "INSERT INTO notify.recipients (user_id, email) VALUES ('bob', 'bob@example.com')"
        )
        for _ in range(3):
            other = await road.send("email", user_id="nobody")
            await road.until(other, "failed", "email")
        assert await road.status(slow, "email") == "sending"
        mail.gate.set()


async def test_stop_finishes_what_it_holds_and_leaves_the_rest(road: Road, mail: MailServer) -> None:
    await road.recipient()
    mail.gate.clear()
    sent = [await road.send("email") for _ in range(6)]
    async with road.worker("email", worker_concurrency=2, worker_lease=30) as stop:

        async def busy() -> bool:
            return len(mail.sessions) >= 2

        await eventually(busy, "two are being sent")
        stop.ask()
        mail.gate.set()
    states = [await road.status(one, "email") for one in sent]
    assert states.count("delivered") == len(mail.mails) == 2
    assert states.count(None) == 4
    stream = road.settings.keys.stream("email")
    assert await road.redis.xlen(stream) == 4
    assert (await road.redis.xinfo_consumers(stream, GROUP)) == [], "its name is gone"
    async with road.worker("email"):
        await road.until_empty("email")
    assert len(set(mail.message_ids)) == len(mail.mails) == 6


async def test_what_a_stop_cuts_off_is_taken_over(road: Road, mail: MailServer) -> None:
    await road.recipient()
    mail.gate.clear()
    notification_id = await road.send("email")
    async with road.worker("email", shutdown_grace=1, worker_lease=30):

        async def sending() -> bool:
            return await road.status(notification_id, "email") == "sending"

        await eventually(sending, "it is being sent")
    assert await road.status(notification_id, "email") == "sending"
    await road.admin.execute("UPDATE notify.deliveries SET lease_until = clock_timestamp() - interval '1 s'")
    mail.gate.set()
    async with road.worker("email"):
        await road.until(notification_id, "delivered", "email")
    assert "taken_over" in [event for event, _ in await road.events(notification_id)]


async def test_a_stop_keeps_within_its_grace_time(road: Road, mail: MailServer) -> None:
    """Whatever hangs: here a settle, because somebody holds the delivery's row."""
    await road.recipient()
    mail.gate.clear()
    notification_id = await road.send("email")
    somebody = road.admin.transaction()
    async with road.worker("email", shutdown_grace=12, worker_lease=30):

        async def sending() -> bool:
            return await road.status(notification_id, "email") == "sending"

        await eventually(sending, "it is being sent")
        await somebody.start()
        await road.admin.execute("SELECT FROM notify.deliveries FOR UPDATE")
        mail.gate.set()
        await mail.arrived.wait()
        stopping = time.monotonic()
    assert time.monotonic() - stopping < 12
    await somebody.rollback()


async def test_a_worker_that_lost_its_lease_changes_nothing(road: Road, mail: MailServer) -> None:
    """As after a long pause of the process: another has taken the delivery over meanwhile."""
    await road.recipient()
    mail.gate.clear()
    notification_id = await road.send("email")
    async with road.worker("email", worker_lease=30):

        async def sending() -> bool:
            return await road.status(notification_id, "email") == "sending" and len(mail.sessions) == 1

        await eventually(sending, "it is being sent")
        await road.admin.execute(
            "UPDATE notify.deliveries SET lease_token = $1, worker = 'other'", UUID(int=9)
        )
        mail.gate.set()
        await mail.arrived.wait()
    row = await road.delivery(notification_id, "email")
    assert row is not None
    assert (row["status"], row["worker"]) == ("sending", "other")
    assert await road.events(notification_id) == []
    assert await road.redis.xlen(road.settings.keys.stream("email")) == 1, (
        "not acknowledged: it is the other's"
    )


async def test_connections_to_postgres_that_break_cost_nothing(road: Road) -> None:
    """What the worker holds goes on as soon as Postgres answers again, long before the lease runs out."""
    sent = [await road.notify(user_id=f"user-{number % 5}") for number in range(200)]
    began = time.monotonic()
    async with road.worker(worker_lease=120):
        for number, one in enumerate(sent):
            await road.entry(one)
            if number % 20 == 0:
                await road.admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name = 'outbox-worker' AND datname = current_database()"
                )
        await road.until_empty()
    assert time.monotonic() - began < 60, "it did not wait for the lease"
    rows = await road.admin.fetch("SELECT user_id, seq FROM notify.inbox ORDER BY user_id, seq")
    assert len(rows) == 200
    assert [row["seq"] for row in rows] == list(range(1, 41)) * 5


async def test_connections_to_redis_that_break_cost_nothing(road: Road) -> None:
    sent = [await road.notify() for _ in range(200)]
    began = time.monotonic()
    async with road.worker(worker_lease=120):
        for number, one in enumerate(sent):
            await road.entry(one)
            if number % 20 == 0:
                await cut_off(road.settings.redis)
        await road.until_empty()
    assert time.monotonic() - began < 60, "it did not wait for the lease"
    assert await road.admin.fetchval("SELECT count(*) FROM notify.inbox") == 200


async def test_a_mail_server_that_is_down_does_not_touch_inapp(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with mail_server() as gone:
        port = gone.port
    monkeypatch.setenv("SMTP_URL", f"smtp://127.0.0.1:{port}")
    monkeypatch.setattr("workers.common.Circuit", lambda: Circuit(Limits(cool_down=0.5, cool_down_cap=1)))
    await road.recipient()
    mails = [await road.send("email") for _ in range(20)]
    async with road.worker("inapp", "email", retry_base=0.2, retry_cap=0.4):

        async def all_tried() -> bool:
            statuses = {await road.status(one, "email") for one in mails}
            return statuses <= {"retrying", "deferred"}

        await eventually(all_tried, "all have been tried, or put off because others were in vain")
        inapp = await road.send()
        await road.until(inapp, "delivered")
        async with mail_server(port) as back:

            async def all_there() -> bool:
                await road.promote()
                return len(set(back.message_ids)) == 20

            await eventually(all_there, "the mail server is back and has them all")
    assert len(back.mails) == 20


async def test_dead_consumers_are_forgotten(road: Road) -> None:
    stream = road.settings.keys.stream("inapp")
    await road.redis.xgroup_create(stream, GROUP, id="0", mkstream=True)
    await road.redis.xgroup_createconsumer(stream, GROUP, "long-gone")
    async with road.worker(worker_lease=0.2):

        async def gone() -> bool:
            consumers = await road.redis.xinfo_consumers(stream, GROUP)
            return "long-gone" not in [consumer["name"].decode() for consumer in consumers]

        await eventually(gone, "the dead consumer's name is gone")


@pytest.mark.parametrize("channels", [["No Such"], ["inapp", "-x"]])
async def test_a_channel_without_a_worker_is_refused(settings: Settings, channels: list[str]) -> None:
    with pytest.raises(SettingsError, match="available: inapp, email"):
        await main(settings, channels, Stop())


async def test_no_task_is_left_behind(road: Road) -> None:
    before = len(asyncio.all_tasks())
    async with road.worker():
        await road.until_empty()
    assert len(asyncio.all_tasks()) == before
