"""The rules of sending on the road: real workers, a real mail server, and what the timeline says afterwards."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from db import dead, rules
from db.rules import Slot
from tests.workers.conftest import Road, eventually
from tests.workers.mail import MailServer

ALL_DAY = {"quiet_hours": {"from": "00:00", "to": "23:59"}}


async def prefer(road: Road, constraints: dict[str, Any], event_type: str = "*", **more: Any) -> None:
    columns = {"channel": "email", "enabled": True} | more
    await road.admin.execute(
        "INSERT INTO notify.user_channel_prefs (user_id, channel, event_type, enabled, constraints)"
        " VALUES ('ada', $1, $2, $3, $4)",
        columns["channel"],
        event_type,
        columns["enabled"],
        json.dumps(constraints),
    )


async def rule(road: Road, rules_: dict[str, Any], channel: str = "email") -> None:
    await road.admin.execute(
        "UPDATE notify.channels SET rules = $2 WHERE name = $1", channel, json.dumps(rules_)
    )


async def quiet_now(road: Road, **more: Any) -> None:
    """Quiet hours that the present moment lies in, in the recipient's own zone."""
    now = datetime.now(UTC)
    start, stop = now - timedelta(hours=2), now + timedelta(hours=2)
    await prefer(road, {"quiet_hours": {"from": f"{start:%H:%M}", "to": f"{stop:%H:%M}"}} | more)


async def due(road: Road, notification_id: UUID) -> tuple[str, int, datetime] | None:
    row = await road.admin.fetchrow(
        "SELECT reason, attempt, due_at FROM notify.scheduled WHERE notification_id = $1", notification_id
    )
    return (row["reason"], row["attempt"], row["due_at"]) if row else None


async def pass_time(road: Road) -> None:
    """Everything scheduled is due, and every window over."""
    await road.admin.execute("UPDATE notify.scheduled SET due_at = clock_timestamp() - interval '1 s'")
    await road.admin.execute("UPDATE notify.caps SET ends_at = clock_timestamp() - interval '1 s'")


async def events(road: Road, notification_id: UUID) -> list[str]:
    return [event for event, _ in await road.events(notification_id)]


async def test_quiet_hours_put_off_and_do_not_drop(road: Road, mail: MailServer) -> None:
    await road.recipient(time_zone="UTC")
    await quiet_now(road)
    async with road.worker("email"):
        one = await road.send("email")
        await road.until(one, "deferred", "email")
        found = await due(road, one)
        assert found is not None
        reason, attempt, at = found
        assert (reason, attempt) == ("quiet_hours", 1)
        assert timedelta(hours=1, minutes=58) < at - datetime.now(UTC) <= timedelta(hours=2)
        row = await road.delivery(one, "email")
        assert row is not None
        assert (row["attempts"], row["deferrals"], row["settled_at"]) == (0, 1, None)
        # The entry that it came by, brought back by a refill, does not overtake the one that is scheduled.
        await road.entry(one, "email", attempt=0)
        await road.until_empty("email")
        assert await events(road, one) == ["deferred"]
        await road.admin.execute("DELETE FROM notify.user_channel_prefs")
        await pass_time(road)
        await road.promote()
        await road.until(one, "delivered", "email")
    (_, put_off), (_, _) = await road.events(one)
    assert put_off["reason"].startswith("quiet hours in UTC until ")
    assert datetime.fromisoformat(put_off["until"]) == at
    assert len(mail.mails) == 1


async def test_urgent_ones_are_sent_in_quiet_hours_and_past_the_cap(road: Road, mail: MailServer) -> None:
    await road.recipient(time_zone="UTC")
    await quiet_now(road, cap={"count": 1, "per": "1 day"})
    await rule(road, {"digest": {"*": "1 hour"}})
    async with road.worker("email"):
        for _ in range(2):
            one = await road.send("email", priority="urgent", digest_key="k")
            await road.until(one, "delivered", "email")
    assert len(mail.mails) == 2


async def test_what_expires_in_quiet_hours_says_so(road: Road, mail: MailServer) -> None:
    await road.recipient()
    await quiet_now(road)
    async with road.worker("email"):
        one = await road.send("email", expires_at=datetime.now(UTC) + timedelta(hours=1))
        await road.until(one, "expired", "email")
    [(_, detail)] = await road.events(one)
    assert detail["reason"].endswith("and expires_at comes before that")
    assert await due(road, one) is None


async def test_the_recipient_s_own_quiet_hours_are_for_channels_that_leave_the_house(
    road: Road, mail: MailServer
) -> None:
    now = datetime.now(UTC)
    hours = {"from": f"{now - timedelta(hours=1):%H:%M}", "to": f"{now + timedelta(hours=1):%H:%M}"}
    await road.recipient(quiet_hours=json.dumps(hours))
    async with road.worker("email", "inapp"):
        mailed, shown = await road.send("email"), await road.send("inapp")
        await road.until(mailed, "deferred", "email")
        await road.until(shown, "delivered", "inapp")
        await prefer(road, {"quiet_hours": None})
        await pass_time(road)
        await road.promote()
        await road.until(mailed, "delivered", "email")


async def test_in_app_waits_where_it_is_told_to(road: Road) -> None:
    await road.recipient(time_zone="UTC")
    now = datetime.now(UTC)
    hours = {"from": f"{now - timedelta(hours=1):%H:%M}", "to": f"{now + timedelta(hours=1):%H:%M}"}
    await prefer(road, {"quiet_hours": hours}, channel="inapp")
    async with road.worker("inapp"):
        one = await road.send("inapp")
        await road.until(one, "deferred", "inapp")


@pytest.mark.parametrize(
    ("wishes", "event_type", "status"),
    [
        ([("*", False), ("order.*", True)], "order.paid", "delivered"),
        ([("*", True), ("order.*", False)], "order.paid", "suppressed"),
        ([("order.*", False), ("order.item.*", True)], "order.item.sent", "delivered"),
        ([("order.*", False), ("order.paid", True)], "order.paid", "delivered"),
        ([("o.*", False), ("o.p", True)], "o.p", "delivered"),
        ([("order.*", False)], "orders.paid", "delivered"),
        ([("order.*", False)], "order", "delivered"),
        ([("order:*", False)], "order:paid", "suppressed"),
    ],
)
async def test_the_nearest_preference_wins(
    road: Road, wishes: list[tuple[str, bool]], event_type: str, status: str
) -> None:
    for pattern, enabled in wishes:
        await prefer(road, {}, pattern, enabled=enabled, channel="inapp")
    async with road.worker("inapp"):
        await road.until(await road.send("inapp", event_type=event_type), status)


async def test_an_urgent_one_overrides_a_preference_where_the_channel_says_so(
    road: Road, mail: MailServer
) -> None:
    await road.recipient()
    await prefer(road, {}, enabled=False)
    await rule(road, {"urgent_overrides_preferences": ["security.*"]})
    async with road.worker("email"):
        code = await road.send("email", event_type="security.code", priority="urgent")
        calm = await road.send("email", event_type="security.code")
        other = await road.send("email", event_type="order.paid", priority="urgent")
        await road.until(code, "delivered", "email")
        await road.until(calm, "suppressed", "email")
        await road.until(other, "suppressed", "email")


async def test_past_the_cap_it_waits_for_the_window_s_end(road: Road, mail: MailServer) -> None:
    await road.recipient()
    await rule(road, {"cap": {"count": 2, "per": "1 day"}})
    async with road.worker("email"):
        sent = [await road.send("email") for _ in range(5)]
        await eventually(lambda: counted(road, "deferred", 3))
        await eventually(lambda: counted(road, "delivered", 2))
        late = await road.admin.fetchrow("SELECT * FROM notify.deliveries WHERE status = 'deferred' LIMIT 1")
        assert late is not None
        assert late["reason"].startswith("the cap of 2 in 1 day is reached; put off until ")
        reasons = await road.admin.fetch("SELECT DISTINCT reason, due_at FROM notify.scheduled")
        ends = await road.admin.fetchval("SELECT ends_at FROM notify.caps")
        assert [tuple(row) for row in reasons] == [("cap", ends)]
        await pass_time(road)
        assert await road.promote() == 3
        await eventually(lambda: counted(road, "delivered", 4))
        await eventually(lambda: counted(road, "deferred", 1))
    assert len(sent) == 5


async def counted(road: Road, status: str, number: int) -> bool:
    found = await road.admin.fetchval("SELECT count(*) FROM notify.deliveries WHERE status = $1", status)
    return bool(found == number)


async def test_a_retry_takes_no_second_place_under_the_cap(road: Road, mail: MailServer) -> None:
    await road.recipient()
    await prefer(road, {"cap": {"count": 2, "per": "1 day"}})
    mail.data = ["451 4.3.0 busy"]
    async with road.worker("email", retry_base=0.01, retry_cap=0.02):
        one = await road.send("email")
        await road.until(one, "retrying", "email")

        async def again() -> bool:
            return await road.promote() == 1

        await eventually(again)
        await road.until(one, "delivered", "email")
    assert await road.admin.fetchval("SELECT used FROM notify.caps") == 1


async def test_places_under_a_cap_are_exact_whoever_takes_them(road: Road) -> None:
    """Eight workers at once, some statements said twice."""
    sent = [await road.notify("email") for _ in range(40)]
    pool = [Slot(one, "ada", "*", 7, 3600.0) for one in sent]

    async def take(part: list[Slot]) -> int:

        connection = await asyncpg.connect(road.settings.database)
        first = await rules.take_slots(connection, "email", part)
        assert await rules.take_slots(connection, "email", part) == first or None in first.values()
        await connection.close()
        return sum(until is None for until in first.values())

    got = await asyncio.gather(*(take(pool[at::8]) for at in range(8)))
    assert sum(got) == 7
    assert await road.admin.fetchval("SELECT used FROM notify.caps") == 7


async def test_a_digest_tells_all_in_one_message(road: Road, mail: MailServer) -> None:
    await road.recipient()
    async with road.worker("email"):
        sent = [
            await road.send("email", digest_key="order", payload={"title": f"Paid {n}", "body": "Thanks"})
            for n in range(3)
        ]
        for one in sent:
            await road.until(one, "digested", "email")
        digest = await road.admin.fetchrow("SELECT * FROM notify.digests")
        assert digest is not None
        waits = await due(road, digest["id"])
        assert waits is not None
        assert waits[0] == "digest"
        assert timedelta(minutes=9) < waits[2] - datetime.now(UTC) <= timedelta(minutes=10)
        assert mail.mails == []
        await pass_time(road)
        await road.promote()
        await road.until(digest["id"], "delivered", "email")
        for one in sent:
            await road.until(one, "delivered", "email")
        later = await road.send("email", digest_key="order")
        await road.until(later, "digested", "email")
    assert len(mail.mails) == 1
    payload = json.loads(
        await road.admin.fetchval("SELECT payload FROM notify.notifications WHERE id = $1", digest["id"])
    )
    assert [item["title"] for item in payload["items"]] == ["Paid 0", "Paid 1", "Paid 2"]
    assert (payload["title"], payload["more"], payload["count"]) == ("3 × Paid 0", 0, 3)
    assert [event for event, _ in await road.events(sent[1])] == ["digested", "delivered"]
    (_, joined), (_, told) = await road.events(sent[1])
    assert joined["digest"] == told["digested_into"] == str(digest["id"])
    assert await road.admin.fetchval("SELECT count(*) FROM notify.digests WHERE closed_at IS NULL") == 1


async def test_the_channel_s_rule_makes_digests_by_category_and_leaves_the_rest(
    road: Road, mail: MailServer
) -> None:
    await road.recipient()
    await rule(road, {"digest": {"order.*": "10 minutes", "order.paid": 5}})
    async with road.worker("email"):
        shipped = await road.send("email", event_type="order.shipped")
        other = await road.send("email", event_type="login")
        await road.until(shipped, "digested", "email")
        await road.until(other, "delivered", "email")
    assert await road.admin.fetchval("SELECT key FROM notify.digests") == "rule:order.*"


async def test_in_app_is_told_at_once_unless_its_own_rule_says_digest(road: Road) -> None:
    async with road.worker("inapp"):
        await road.until(await road.send("inapp", digest_key="k"), "delivered")
        await rule(road, {"digest": {"*": "10 minutes"}}, "inapp")
        one = await road.send("inapp", digest_key="k", payload={"title": "T", "body": "B"})
        await road.until(one, "digested")
        await pass_time(road)
        await road.promote()
        await road.until(one, "delivered")
    row = await road.admin.fetchrow(
        "SELECT n.payload FROM notify.inbox i JOIN notify.notifications n ON n.id = i.notification_id"
        " WHERE n.is_digest"
    )
    assert row is not None
    assert json.loads(row["payload"])["items"] == [{"title": "T", "body": "B"}]


async def test_what_is_canceled_or_too_late_is_left_out_of_the_digest(road: Road, mail: MailServer) -> None:
    await road.recipient()
    async with road.worker("email"):
        sent = [
            await road.send("email", digest_key="k", payload={"title": title})
            for title in ("kept", "gone", "late")
        ]
        for one in sent:
            await road.until(one, "digested", "email")
        kept, gone, late = sent
        await road.producer.execute("SELECT notify.cancel($1)", gone)
        await road.admin.execute(
            "UPDATE notify.notifications SET expires_at = clock_timestamp() WHERE id = $1", late
        )
        await pass_time(road)
        await road.promote()
        await road.until(kept, "delivered", "email")
        await road.until(gone, "canceled", "email")
        await road.until(late, "expired", "email")
    assert [one["Subject"] for one in mail.mails] == ["kept"]
    assert (await road.events(gone))[-1][0] == "canceled"


async def test_a_digest_with_nothing_left_is_canceled(road: Road, mail: MailServer) -> None:
    await road.recipient()
    async with road.worker("email"):
        one = await road.send("email", digest_key="k")
        await road.until(one, "digested", "email")
        await road.producer.execute("SELECT notify.cancel($1)", one)
        await pass_time(road)
        await road.promote()
        digest = await road.admin.fetchval("SELECT id FROM notify.digests")
        await road.until(digest, "canceled", "email")
    assert mail.mails == []


@pytest.mark.parametrize("end", ["suppressed", "canceled"])
async def test_nothing_joins_a_digest_that_has_come_to_its_end(
    road: Road, mail: MailServer, end: str
) -> None:
    """It never went out, so it was never closed to go out."""
    await road.recipient()
    switch = "UPDATE notify.channels SET enabled = $1 WHERE name = 'email'"
    async with road.worker("email"):
        one = await road.send("email", digest_key="k")
        await road.until(one, "digested", "email")
        over = await road.admin.fetchval("SELECT id FROM notify.digests")
        if end == "canceled":
            await road.producer.execute("SELECT notify.cancel($1)", over)
        else:
            await road.admin.execute(switch, False)
            await pass_time(road)
            await road.promote()
        await road.until(over, end, "email")
        await road.admin.execute(switch, True)
        two = await road.send("email", digest_key="k")
        await road.until(two, "digested", "email")
        await pass_time(road)
        await road.promote()
        await road.until(two, "delivered", "email")
    assert len(mail.mails) == 1


async def test_what_a_digest_that_fails_held_is_told_and_comes_with_its_redrive(
    road: Road, mail: MailServer
) -> None:
    await road.recipient()
    mail.rcpt = ["552 5.2.2 mailbox full"]
    async with road.worker("email"):
        one = await road.send("email", digest_key="k")
        await road.until(one, "digested", "email")
        digest = await road.admin.fetchval("SELECT id FROM notify.digests")
        await pass_time(road)
        await road.promote()
        await road.until(digest, "failed", "email")
        row = await road.delivery(one, "email")
        assert row is not None
        why = "the digest it is in ended as failed: 552 5.2.2 mailbox full"
        assert (row["status"], row["reason"]) == ("digested", why)
        event, detail = (await road.events(one))[-1]
        assert (event, detail) == ("digested", {"digest": str(digest), "reason": why})
        letter = await road.admin.fetchval("SELECT id FROM notify.notifications_failed")
        async with road.admin.transaction():
            await dead.redrive(road.admin, [letter])
        await pass_time(road)
        await road.promote()
        await road.until(one, "delivered", "email")
    assert len(mail.mails) == 1


async def test_nothing_is_in_two_digests_or_in_none_while_they_close(road: Road) -> None:
    """Some collect, one closes, all at once: each item is in the list of exactly one digest."""
    sent = [await road.notify("email") for _ in range(120)]
    connections = [await asyncpg.connect(road.settings.database) for _ in range(5)]
    listed: list[tuple[UUID, int]] = []

    async def join(connection: Any, part: list[UUID]) -> None:
        for one in part:
            await connection.execute(
                "SELECT notify.collect($1, 'email', 'k', clock_timestamp() + interval '1 h')", one
            )

    async def close(connection: Any, joining: "asyncio.Future[Any]") -> None:
        while not joining.done() or await open_digest(connection):
            if id_ := await open_digest(connection):
                found = await rules.close_digests(connection, [id_], 1000, 10**6)
                listed.append((id_, found[id_].total))

    joining = asyncio.gather(*(join(connections[at], sent[at::4]) for at in range(4)))
    await close(connections[4], joining)
    await joining
    for connection in connections:
        await connection.close()
    assert sum(total for _, total in listed) == 120
    assert await road.admin.fetchval("SELECT count(DISTINCT notification_id) FROM notify.digest_items") == 120
    assert len({id_ for id_, _ in listed}) == len(listed) > 1


async def test_a_digest_whose_worker_died_says_the_same_again(road: Road) -> None:
    async def join(title: str) -> UUID:
        one = await road.notify("email", payload={"title": title})
        await road.admin.execute("SELECT notify.collect($1, 'email', 'k', clock_timestamp())", one)
        found: UUID = await road.admin.fetchval(
            "SELECT digest_id FROM notify.digest_items WHERE notification_id = $1", one
        )
        return found

    first, same = await join("one"), await join("two")
    assert first == same
    before = await rules.close_digests(road.admin, [first], 100, 10_000)
    assert [item["title"] for item in before[first].payloads] == ["one", "two"]
    later = await join("three")
    assert later != first
    assert await rules.close_digests(road.admin, [first], 100, 10_000) == before


async def test_a_long_digest_is_cut_and_counted(road: Road) -> None:
    for number in range(5):
        one = await road.notify("email", payload={"title": f"{number}"})
        await road.admin.execute("SELECT notify.collect($1, 'email', 'k', clock_timestamp())", one)
    digest: UUID = await road.admin.fetchval("SELECT id FROM notify.digests")
    by_number = (await rules.close_digests(road.admin, [digest], 3, 10_000))[digest]
    assert ([item["title"] for item in by_number.payloads], by_number.total) == (["0", "1", "2"], 5)
    by_size = (await rules.close_digests(road.admin, [digest], 100, 30))[digest]
    assert ([item["title"] for item in by_size.payloads], by_size.total) == (["0", "1"], 5)
    nothing = (await rules.close_digests(road.admin, [digest], 100, 1))[digest]
    assert (nothing.payloads, nothing.first, nothing.total) == ([], {"title": "0"}, 5)


async def open_digest(connection: Any) -> UUID | None:
    found: UUID | None = await connection.fetchval(
        "SELECT d.id FROM notify.digests d WHERE d.closed_at IS NULL"
        " AND EXISTS (SELECT FROM notify.digest_items i WHERE i.digest_id = d.id)"
    )
    return found


async def test_a_digest_that_waits_for_the_end_of_quiet_hours_goes_on_collecting(
    road: Road, mail: MailServer
) -> None:
    await road.recipient(time_zone="UTC")
    await quiet_now(road)
    async with road.worker("email"):
        first = await road.send("email", digest_key="k")
        await road.until(first, "digested", "email")
        digest = await road.admin.fetchval("SELECT id FROM notify.digests")
        await pass_time(road)
        await road.promote()
        await road.until(digest, "deferred", "email")
        second = await road.send("email", digest_key="k")
        await road.until(second, "digested", "email")
        await road.admin.execute("DELETE FROM notify.user_channel_prefs")
        await pass_time(road)
        await road.promote()
        for one in (first, second):
            await road.until(one, "delivered", "email")
    assert len(mail.mails) == 1


async def test_past_the_cap_a_digest_if_asked_for(road: Road, mail: MailServer) -> None:
    await road.recipient()
    await rule(road, {"cap": {"count": 1, "per": 3600, "then": "digest"}})
    async with road.worker("email"):
        await road.until(await road.send("email"), "delivered", "email")
        more = [await road.send("email") for _ in range(2)]
        for one in more:
            await road.until(one, "digested", "email")
        await pass_time(road)
        await road.promote()
        for one in more:
            await road.until(one, "delivered", "email")
    assert len(mail.mails) == 2


@pytest.mark.parametrize("read", [True, False])
async def test_the_mail_goes_only_if_it_is_unread_in_app(road: Road, mail: MailServer, read: bool) -> None:
    await road.recipient()
    one = await road.notify(channels=["inapp", "email"], escalate_after=600)
    found = await due(road, one)
    assert found is not None
    assert found[0] == "escalation"
    assert timedelta(minutes=9) < found[2] - datetime.now(UTC) <= timedelta(minutes=10)
    assert await road.admin.fetchval("SELECT channels FROM notify.outbox") == ["inapp"]
    async with road.worker("inapp", "email"):
        await road.entry(one)
        await road.until(one, "delivered")
        if read:
            await road.admin.execute("UPDATE notify.inbox SET read_at = now()")
        await pass_time(road)
        await road.promote()
        await road.until(one, "suppressed" if read else "delivered", "email")
    assert len(mail.mails) == (0 if read else 1)
    if read:
        assert ("suppressed", {"reason": "read in-app before it was due here"}) in await road.events(one)


async def test_a_retry_after_the_deadline_is_a_dead_letter(road: Road, mail: MailServer) -> None:
    await road.recipient()
    await road.admin.execute(
        "UPDATE notify.channels SET retry_base = 50, retry_cap = 50, retry_jitter = 0, retry_deadline = 30"
        " WHERE name = 'email'"
    )
    mail.data = ["451 4.3.0 busy"]
    async with road.worker("email"):
        one = await road.send("email")
        await road.until(one, "failed", "email")
    [(_, detail)] = await road.events(one)
    assert detail["reason"].endswith("not tried again after 30 s, the channel's deadline")
    assert await road.admin.fetchval("SELECT count(*) FROM notify.notifications_failed") == 1


async def test_the_channel_s_own_waits(road: Road, mail: MailServer) -> None:
    await road.recipient()
    await road.admin.execute(
        "UPDATE notify.channels SET retry_base = 77, retry_cap = 1000, retry_jitter = 0 WHERE name = 'email'"
    )
    mail.data = ["451 4.3.0 busy"]
    async with road.worker("email"):
        one = await road.send("email")
        await road.until(one, "retrying", "email")
    [(_, detail)] = await road.events(one)
    assert detail["retry_in_seconds"] == 77


async def test_rules_that_cannot_be_read_hold_everything_and_say_so(
    road: Road, mail: MailServer, capsys: pytest.CaptureFixture[str]
) -> None:
    await road.recipient()
    await rule(road, {"cap": {"count": 0, "per": "soon"}})
    async with road.worker("email"):
        one = await road.send("email")
        await road.until(one, "deferred", "email")
    (_, detail), *_ = await road.events(one)
    assert detail["error_class"] == "config"
    assert detail["reason"].startswith("rules of the channel: cap.")
    row = await road.delivery(one, "email")
    assert row is not None
    assert row["attempts"] == 0, "it is not the delivery's fault"
    assert mail.mails == []
    assert "worker.rules_refused" in capsys.readouterr().out
