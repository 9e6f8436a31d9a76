"""Claim and settle on real Postgres: who gets a delivery, who may settle it, and by which index."""

import asyncio
import json
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from db import dead, delivery, templates
from db.delivery import Claim, Claimant, Settlement, Status, Undecodable
from db.pool import Connection, Pool

# Somebody waits for a lock.
WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)
PLAIN = Claimant("inapp", "worker-1", UUID(int=1), 60, contacts=False)


async def notify(admin: Connection, channel: str = "inapp", **columns: Any) -> UUID:
    notification_id = uuid4()
    columns = {
        "notification_id": notification_id,
        "event_type": "order.paid",
        "user_id": "ada",
        "channels": [channel],
    } | columns
    names, places = ", ".join(columns), ", ".join(f"${i + 1}" for i in range(len(columns)))
    await admin.execute(f"INSERT INTO notify.outbox ({names}) VALUES ({places})", *columns.values())
    return notification_id


async def claim_one(
    pool: Pool, notification_id: UUID, attempt: int = 0, who: Claimant | None = None
) -> Claim:
    who = who or replace(PLAIN, token=uuid4())
    async with pool.acquire() as connection:
        (claim,) = await delivery.claim(connection, who, [notification_id], [attempt])
    return claim


async def settle_one(pool: Pool, settlement: Settlement) -> dict[tuple[UUID, UUID], bool]:
    async with pool.acquire() as connection:
        return await delivery.settle(connection, "inapp", [settlement])


async def lapse(admin: Connection) -> None:
    """The lease runs out."""
    await admin.execute("UPDATE notify.deliveries SET lease_until = clock_timestamp() - interval '1 s'")


async def test_first_claim_makes_the_delivery(pool: Pool, admin: Connection) -> None:
    claim = await claim_one(pool, await notify(admin))
    assert (claim.attempts, claim.attempts_allowed, claim.prior_status, claim.taken_over) == (
        1,
        8,
        None,
        False,
    )
    row = await admin.fetchrow(
        "SELECT *, lease_until > now() + interval '50 s' AS leased FROM notify.deliveries"
    )
    assert row is not None
    assert (row["status"], row["worker"], row["leased"]) == ("sending", "worker-1", True)


async def test_a_held_delivery_is_not_claimed(pool: Pool, admin: Connection) -> None:
    notification_id = await notify(admin)
    await claim_one(pool, notification_id)
    claim = await claim_one(pool, notification_id)
    assert (claim.attempts, claim.prior_status, claim.known) == (None, "sending", True)


async def test_claiming_twice_with_one_token_changes_nothing(pool: Pool, admin: Connection) -> None:
    """A claim whose reply was lost is sent again."""
    notification_id = await notify(admin)
    who = replace(PLAIN, token=uuid4())
    first = await claim_one(pool, notification_id, who=who)
    second = await claim_one(pool, notification_id, who=who)
    assert (first.attempts, second.attempts, second.taken_over) == (1, 1, False)


async def test_overlapping_batches_share_out_and_never_deadlock(pool: Pool, admin: Connection) -> None:
    ids = [await notify(admin) for _ in range(50)]

    async def batch(order: list[UUID]) -> set[UUID]:
        async with pool.acquire() as connection:
            who = replace(PLAIN, token=uuid4())
            claims = await delivery.claim(connection, who, order, [0] * len(order))
        return {claim.notification_id for claim in claims if claim.attempts is not None}

    taken = await asyncio.gather(*(batch(ids[::step]) for step in (1, -1, 1, -1)))
    assert sum(len(part) for part in taken) == 50
    assert set().union(*taken) == set(ids)


async def test_an_erased_notification_is_not_known(pool: Pool, admin: Connection) -> None:
    claim = await claim_one(pool, uuid4())
    assert (claim.known, claim.attempts) == (False, None)


async def test_a_lapsed_lease_is_taken_over_and_told(pool: Pool, admin: Connection) -> None:
    notification_id = await notify(admin)
    await claim_one(pool, notification_id)
    await lapse(admin)
    claim = await claim_one(pool, notification_id, who=replace(PLAIN, worker="worker-2", token=uuid4()))
    assert (claim.attempts, claim.taken_over) == (2, True)
    event = await admin.fetchrow("SELECT * FROM notify.delivery_events")
    assert event is not None
    assert (event["event"], event["attempt"]) == ("taken_over", 1)
    assert json.loads(event["detail"]) == {"from": "worker-1", "by": "worker-2"}


@pytest.mark.parametrize(("attempts", "claimed"), [(0, False), (1, True), (2, False)])
async def test_only_the_entry_of_the_next_attempt_is_claimed(
    pool: Pool, admin: Connection, attempts: int, claimed: bool
) -> None:
    notification_id = await notify(admin)
    await claim_one(pool, notification_id)
    await admin.execute("UPDATE notify.deliveries SET status = 'retrying', lease_until = NULL")
    claim = await claim_one(pool, notification_id, attempts)
    assert (claim.attempts == 2) is claimed


@pytest.mark.parametrize("status", sorted(delivery.FINAL))
async def test_what_is_final_stays_final(pool: Pool, admin: Connection, status: str) -> None:
    notification_id = await notify(admin)
    await claim_one(pool, notification_id)
    await admin.execute("UPDATE notify.deliveries SET status = $1", status)
    await lapse(admin)
    claim = await claim_one(pool, notification_id)
    assert (claim.attempts, claim.prior_status) == (None, status)


async def test_preference_of_the_event_type_wins(pool: Pool, admin: Connection) -> None:
    await admin.execute(
        "INSERT INTO notify.user_channel_prefs (user_id, channel, event_type, enabled) VALUES "
        "('ada', 'inapp', '*', false), ('ada', 'inapp', 'order.paid', true), ('ada', 'email', '*', false)"
    )
    assert (await claim_one(pool, await notify(admin))).wanted
    assert not (await claim_one(pool, await notify(admin, event_type="other"))).wanted
    assert (await claim_one(pool, await notify(admin, user_id="bob"))).wanted


async def test_contact_suppression_and_language(pool: Pool, admin: Connection) -> None:
    await admin.execute(
        "INSERT INTO notify.recipients (user_id, email, locale) VALUES ('ada', 'Ada@Example.com', 'de-AT')"
    )
    await admin.execute(
        "INSERT INTO notify.suppressions (channel, address, reason) VALUES ('email', 'ada@example.com', 'bounced')"
    )
    who = replace(PLAIN, channel="email", contacts=True, token=uuid4())
    claim = await claim_one(pool, await notify(admin, "email"), who=who)
    assert (claim.contact, claim.locale, claim.suppressed) == ("Ada@Example.com", "de-AT", "bounced")


@pytest.mark.parametrize(
    ("template_name", "locale", "expected"),
    [
        (None, None, "order.paid//1"),
        (None, "de-AT", "order.paid/de/2"),
        (None, "de-CH", "order.paid/de-CH/1"),
        ("plain", "fr", "plain//1"),
        ("german", "fr", None),
    ],
)
async def test_template_by_name_then_language_then_version(
    pool: Pool, admin: Connection, template_name: str | None, locale: str | None, expected: str | None
) -> None:
    await admin.execute(
        "INSERT INTO notify.templates (name, channel, locale, version, subject) "
        "SELECT n, 'email', l, v, n || '/' || l || '/' || v FROM (VALUES ('order.paid', '', 1), "
        "('order.paid', 'de', 1), ('order.paid', 'de', 2), ('order.paid', 'de-CH', 1), ('plain', '', 1), "
        "('german', 'de', 1)) AS t (n, l, v)"
    )
    await admin.execute("INSERT INTO notify.recipients (user_id, locale) VALUES ('ada', $1)", locale)
    who = replace(PLAIN, channel="email", contacts=True, token=uuid4())
    claim = await claim_one(pool, await notify(admin, "email", template_name=template_name), who=who)
    subject = None
    if claim.template:
        (template,) = await templates.sources(admin, [claim.template])
        assert template.key == claim.template
        subject = template.subject
    assert subject == expected


async def test_an_unknown_event_type_gets_the_default_template(pool: Pool, admin: Connection) -> None:
    who = replace(PLAIN, channel="email", contacts=True, token=uuid4())
    claim = await claim_one(pool, await notify(admin, "email", event_type="a:b"), who=who)
    (template,) = await templates.sources(admin, [claim.template or ""])
    assert template.name == "default"


async def test_a_template_changed_in_place_has_another_key(pool: Pool, admin: Connection) -> None:
    async def key() -> str | None:
        who = replace(PLAIN, channel="email", contacts=True, token=uuid4())
        return (await claim_one(pool, await notify(admin, "email"), who=who)).template

    before = await key()
    await admin.execute("UPDATE notify.templates SET subject = 'new'")
    assert await key() not in (None, before)


async def test_a_template_changed_after_the_claim_comes_under_the_key_of_the_claim(
    pool: Pool, admin: Connection
) -> None:
    """Otherwise mail in flight would look for it in vain."""
    who = replace(PLAIN, channel="email", contacts=True, token=uuid4())
    key = (await claim_one(pool, await notify(admin, "email"), who=who)).template or ""
    await admin.execute("UPDATE notify.templates SET subject = 'new'")
    (template,) = await templates.sources(admin, [key])
    assert (template.key, template.subject) == (key, "new")
    await admin.execute("DELETE FROM notify.templates")
    assert await templates.sources(admin, [key]) == []


async def give_back(pool: Pool, notification_id: UUID, token: UUID, attempt: int = 0) -> None:
    async with pool.acquire() as connection:
        await delivery.give_back(connection, "inapp", [(notification_id, token, attempt)])


async def state(admin: Connection) -> tuple[str, int]:
    row = await admin.fetchrow("SELECT status, attempts FROM notify.deliveries")
    assert row is not None
    return row["status"], row["attempts"]


async def test_a_claim_given_back_was_never_made(pool: Pool, admin: Connection) -> None:
    notification_id = await notify(admin)
    who = replace(PLAIN, token=uuid4())
    await claim_one(pool, notification_id, who=who)
    for _ in range(2):  # the second time it is a repeat
        await give_back(pool, notification_id, who.token)
        assert await state(admin) == ("pending", 0)
    late = Settlement(notification_id, who.token, Status.DELIVERED, "delivered", 1)
    assert await settle_one(pool, late) == {}
    again = await claim_one(pool, notification_id)
    assert (again.attempts, again.taken_over) == (1, False)


async def test_a_retry_given_back_is_a_retry(pool: Pool, admin: Connection) -> None:
    notification_id = await notify(admin)
    await claim_one(pool, notification_id)
    await admin.execute("UPDATE notify.deliveries SET status = 'retrying', lease_until = NULL")
    who = replace(PLAIN, token=uuid4())
    await claim_one(pool, notification_id, 1, who)
    await give_back(pool, notification_id, who.token, 1)
    assert await state(admin) == ("retrying", 1)
    again = await claim_one(pool, notification_id, 1)
    assert (again.attempts, again.taken_over) == (2, False)


async def test_a_take_over_given_back_is_still_one(pool: Pool, admin: Connection) -> None:
    """How the attempt before it ended is not known any better."""
    notification_id = await notify(admin)
    await claim_one(pool, notification_id)
    await lapse(admin)
    who = replace(PLAIN, token=uuid4())
    await claim_one(pool, notification_id, who=who)
    await give_back(pool, notification_id, who.token)
    assert await state(admin) == ("sending", 1)
    again = await claim_one(pool, notification_id)
    assert (again.attempts, again.taken_over) == (2, True)


async def test_only_the_holder_gives_back(pool: Pool, admin: Connection) -> None:
    notification_id = await notify(admin)
    sleeper = replace(PLAIN, token=uuid4())
    await claim_one(pool, notification_id, who=sleeper)
    await lapse(admin)
    await claim_one(pool, notification_id)
    await give_back(pool, notification_id, sleeper.token)
    assert await state(admin) == ("sending", 2)


async def bury(pool: Pool, notification_id: UUID | None, attempt: int = 0, entry: str = "1-1") -> set[str]:
    letter = Undecodable(entry, "payload: too odd", b"{}", notification_id, attempt)
    async with pool.acquire() as connection:
        return await delivery.bury_undecodable(connection, "inapp", "s", [letter])


async def letters(admin: Connection) -> list[UUID | None]:
    rows = await admin.fetch("SELECT notification_id FROM notify.notifications_failed ORDER BY entry_id")
    return [row["notification_id"] for row in rows]


async def test_an_undecodable_entry_ends_its_delivery(pool: Pool, admin: Connection) -> None:
    notification_id = await notify(admin)
    for _ in range(2):  # the second time it is a repeat
        assert await bury(pool, notification_id) == set()
    row = await admin.fetchrow("SELECT * FROM notify.deliveries")
    assert row is not None
    assert (row["status"], row["error_class"], row["reason"], row["attempts"], row["attempts_allowed"]) == (
        "failed",
        "undecodable",
        "payload: too odd",
        0,
        8,
    )
    assert row["settled_at"] is not None
    (event,) = await admin.fetch("SELECT * FROM notify.delivery_events")
    assert (event["event"], json.loads(event["detail"])) == (
        "failed",
        {"error_class": "undecodable", "reason": "payload: too odd"},
    )
    assert await letters(admin) == [notification_id]


@pytest.mark.parametrize("status", sorted(delivery.FINAL))
async def test_an_undecodable_entry_changes_nothing_final(pool: Pool, admin: Connection, status: str) -> None:
    notification_id = await notify(admin)
    await claim_one(pool, notification_id)
    await admin.execute("UPDATE notify.deliveries SET status = $1", status)
    await lapse(admin)
    assert await bury(pool, notification_id) == set()
    assert await state(admin) == (status, 1)
    assert await admin.fetchval("SELECT count(*) FROM notify.delivery_events") == 0
    assert await letters(admin) == [notification_id]


async def test_an_undecodable_entry_of_an_attempt_that_is_over_ends_nothing(
    pool: Pool, admin: Connection
) -> None:
    notification_id = await notify(admin)
    await claim_one(pool, notification_id)
    await admin.execute("UPDATE notify.deliveries SET status = 'retrying', lease_until = NULL")
    await bury(pool, notification_id, attempt=0)
    assert await state(admin) == ("retrying", 1)
    await bury(pool, notification_id, attempt=1, entry="1-2")
    assert await state(admin) == ("failed", 1)


async def test_an_undecodable_entry_is_left_to_the_worker_that_holds_its_delivery(
    pool: Pool, admin: Connection
) -> None:
    """A newer one, perhaps, that can read it."""
    notification_id = await notify(admin)
    await claim_one(pool, notification_id)
    assert await bury(pool, notification_id) == {"1-1"}
    assert await state(admin) == ("sending", 1)
    assert await letters(admin) == []
    await lapse(admin)
    assert await bury(pool, notification_id) == set()
    assert await state(admin) == ("failed", 1)
    assert await admin.fetchval("SELECT lease_token FROM notify.deliveries") is None


async def test_an_undecodable_entry_that_comes_again_after_a_redrive_ends_nothing(
    pool: Pool, admin: Connection
) -> None:
    notification_id = await notify(admin)
    await bury(pool, notification_id)
    async with pool.acquire() as connection, connection.transaction():
        (result,) = await dead.redrive(connection, dead.Filter())
    assert result.answer is dead.Answer.REDRIVEN
    await bury(pool, notification_id)
    assert await state(admin) == ("pending", 0)


@pytest.mark.parametrize("notification_id", [None, UUID(int=5)])
async def test_an_undecodable_entry_of_nobody_keeps_its_bytes(
    pool: Pool, admin: Connection, notification_id: UUID | None
) -> None:
    assert await bury(pool, notification_id) == set()
    assert await letters(admin) == [None]
    assert await admin.fetchval("SELECT count(*) FROM notify.deliveries") == 0


async def test_two_undecodable_entries_of_one_notification(pool: Pool, admin: Connection) -> None:
    notification_id = await notify(admin)
    both = [Undecodable(entry, "odd", b"{}", notification_id) for entry in ("1-1", "1-2")]
    async with pool.acquire() as connection:
        await delivery.bury_undecodable(connection, "inapp", "s", both)
    assert await letters(admin) == [notification_id] * 2
    assert await admin.fetchval("SELECT count(*) FROM notify.delivery_events") == 1


async def test_settle_needs_the_token_of_the_claim(pool: Pool, admin: Connection) -> None:
    """A worker that slept past its lease changes nothing."""
    notification_id = await notify(admin)
    sleeper = replace(PLAIN, token=uuid4())
    await claim_one(pool, notification_id, who=sleeper)
    await lapse(admin)
    await claim_one(pool, notification_id)
    late = Settlement(notification_id, sleeper.token, Status.DELIVERED, "delivered", 1)
    assert await settle_one(pool, late) == {}
    assert await admin.fetchval("SELECT status FROM notify.deliveries") == "sending"


async def test_settling_twice_is_told_and_changes_nothing(pool: Pool, admin: Connection) -> None:
    notification_id = await notify(admin)
    who = replace(PLAIN, token=uuid4())
    await claim_one(pool, notification_id, who=who)
    done = Settlement(notification_id, who.token, Status.DELIVERED, "delivered", 1, message_id="<m>")
    assert await settle_one(pool, done) == {done.key: True}
    assert await settle_one(pool, done) == {done.key: False}
    assert await admin.fetchval("SELECT count(*) FROM notify.delivery_events") == 1
    row = await admin.fetchrow("SELECT * FROM notify.deliveries")
    assert row is not None
    assert (row["status"], row["provider_message_id"], row["lease_until"]) == ("delivered", "<m>", None)
    assert row["settled_at"] is not None


async def claimed(pool: Pool, admin: Connection, *user_ids: str) -> list[tuple[Settlement, str]]:
    """A notification for each user, claimed as one batch, and what is to be settled."""
    ids = [await notify(admin, user_id=user_id) for user_id in user_ids]
    token = uuid4()
    async with pool.acquire() as connection:
        await delivery.claim(connection, replace(PLAIN, token=token), ids, [0] * len(ids))
    done = [Settlement(id_, token, Status.DELIVERED, "delivered", 1) for id_ in ids]
    return list(zip(done, user_ids, strict=True))


async def settle_in_inbox(pool: Pool, batch: list[tuple[Settlement, str]]) -> dict[UUID, tuple[Any, ...]]:
    async with pool.acquire() as connection:
        placed = await delivery.settle_in_inbox(connection, "inapp", batch)
    return {id_: (place.open, place.seq, place.unread, place.version) for (id_, _), place in placed.items()}


async def inbox(admin: Connection) -> list[tuple[Any, ...]]:
    rows = await admin.fetch("SELECT user_id, seq, notification_id FROM notify.inbox ORDER BY 1, 2")
    return [tuple(row) for row in rows]


async def test_an_inapp_batch_is_settled_and_placed_in_the_order_of_the_input(
    pool: Pool, admin: Connection
) -> None:
    batch = await claimed(pool, admin, "ada", "bob", "ada")
    first, second, third = [item.notification_id for item, _ in batch]
    found = await settle_in_inbox(pool, batch)
    assert found == {first: (True, 1, 1, 1), second: (True, 1, 1, 1), third: (True, 2, 2, 2)}
    assert await inbox(admin) == [("ada", 1, first), ("ada", 2, third), ("bob", 1, second)]
    rows = await admin.fetch("SELECT *, settled_at IS NOT NULL AS over FROM notify.deliveries")
    assert {(row["status"], row["attempts"], row["lease_until"], row["over"]) for row in rows} == {
        ("delivered", 1, None, True)
    }
    events = await admin.fetch("SELECT event, attempt, detail FROM notify.delivery_events")
    assert [tuple(event) for event in events] == [("delivered", 1, "{}")] * 3
    (later,) = await claimed(pool, admin, "ada")
    assert await settle_in_inbox(pool, [later]) == {later[0].notification_id: (True, 3, 3, 3)}
    async with pool.acquire() as connection:
        counts = await delivery.inbox_counts(connection, ["ada", "bob", "eve"])
    assert {(item.user_id, item.last_seq) for item in counts} == {("ada", 3), ("bob", 1)}


async def test_an_inapp_settle_whose_reply_was_lost_is_repeated_and_changes_nothing(
    pool: Pool, admin: Connection
) -> None:
    old, new = await claimed(pool, admin, "ada", "ada")
    await settle_in_inbox(pool, [old])
    found = await settle_in_inbox(pool, [old, new])  # among others, as it comes again
    assert found[old[0].notification_id][:2] == (False, None)
    assert found[new[0].notification_id] == (True, 2, 2, 2)
    assert [seq for _, seq, _ in await inbox(admin)] == [1, 2]
    assert await admin.fetchval("SELECT count(*) FROM notify.delivery_events") == 2
    row = await admin.fetchrow("SELECT last_seq, unread, version FROM notify.inbox_counters")
    assert tuple(row or ()) == (2, 2, 2)


async def test_an_inapp_settle_repeated_while_the_first_still_runs_changes_nothing(
    pool: Pool, admin: Connection
) -> None:
    """As after a timeout: it waits for the row, and is judged by what the first one made of it."""
    (one,) = await claimed(pool, admin, "ada")
    async with pool.acquire() as first:
        transaction = first.transaction()
        await transaction.start()
        await delivery.settle_in_inbox(first, "inapp", [one])
        again = asyncio.create_task(settle_in_inbox(pool, [one]))
        async with asyncio.timeout(60):
            while not await admin.fetchval(WAITING):
                assert not again.done()
        await transaction.commit()
    assert (await again)[one[0].notification_id][:2] == (False, None)
    assert len(await inbox(admin)) == 1


async def test_inapp_settles_of_overlapping_users_queue_up_and_never_deadlock(
    pool: Pool, admin: Connection
) -> None:
    users = [f"user-{number}" for number in range(20)]
    batches = [await claimed(pool, admin, *order) for order in (users, users[::-1]) * 3]
    await asyncio.gather(*(settle_in_inbox(pool, batch) for batch in batches))
    assert [row[:2] for row in await inbox(admin)] == [
        (user, seq) for user in sorted(users) for seq in range(1, 7)
    ]


async def test_what_is_in_the_inbox_already_is_settled_and_not_placed_again(
    pool: Pool, admin: Connection
) -> None:
    """The delivery's row was lost while the notification stayed: one more claim, one more settle."""
    old, new = await claimed(pool, admin, "ada", "ada")
    await admin.execute(
        "INSERT INTO notify.inbox (user_id, seq, notification_id) VALUES ('ada', 1, $1)",
        old[0].notification_id,
    )
    await admin.execute("INSERT INTO notify.inbox_counters VALUES ('ada', 1, 1, 1)")
    found = await settle_in_inbox(pool, [new, old])
    assert found[old[0].notification_id][:2] == (True, None)
    assert found[new[0].notification_id] == (True, 2, 2, 2)
    assert {row["status"] for row in await admin.fetch("SELECT status FROM notify.deliveries")} == {
        "delivered"
    }


async def test_an_inapp_settle_needs_the_token_of_the_claim(pool: Pool, admin: Connection) -> None:
    lost, ours = await claimed(pool, admin, "ada", "ada")
    await admin.execute(
        "UPDATE notify.deliveries SET lease_token = $1 WHERE notification_id = $2",
        uuid4(),
        lost[0].notification_id,
    )
    assert await settle_in_inbox(pool, [lost, ours]) == {ours[0].notification_id: (True, 1, 1, 1)}
    assert await inbox(admin) == [("ada", 1, ours[0].notification_id)]


async def seed(admin: Connection) -> None:
    """Enough rows that a wrong plan would show."""
    await admin.execute(
        "INSERT INTO notify.notifications (id, event_type, user_id, channels, payload, priority, created_at) "
        "SELECT md5(i::text)::uuid, 'order.paid', 'user-' || i, '{email}', '{}', 'normal', now() "
        "FROM generate_series(1, 20000) i"
    )
    await admin.execute(
        "INSERT INTO notify.deliveries (notification_id, channel, status, attempts_allowed) "
        "SELECT id, 'email', 'pending', 8 FROM notify.notifications"
    )
    await admin.execute(
        "INSERT INTO notify.recipients (user_id, email) SELECT user_id, user_id || '@x.test' FROM notify.notifications"
    )
    await admin.execute(
        "INSERT INTO notify.user_channel_prefs (user_id, channel) SELECT user_id, 'email' FROM notify.notifications"
    )
    await admin.execute(
        "INSERT INTO notify.suppressions (channel, address, reason) "
        "SELECT 'email', email, 'test' FROM notify.recipients"
    )
    await admin.execute(
        "INSERT INTO notify.inbox (user_id, seq, notification_id) SELECT user_id, 1, id FROM notify.notifications"
    )
    await admin.execute("ANALYZE")


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for part in plan.get("Plans", []) for node in nodes(part))]


async def explain(admin: Connection, mode: str, sql: str, *parameters: object) -> list[dict[str, Any]]:
    """The nodes of the plan that a prepared statement gets, with its parameters known or not."""
    types = ["text", "uuid[]", "smallint[]", "uuid", "float8", "text", "bool"]
    if sql is delivery.SQL["settle"]:
        types = ["text", "uuid[]", "uuid[]", "text[]", "smallint[]", *["text[]"] * 5]
    if sql is delivery.SQL["settle_in_inbox"]:
        types = ["text", "uuid[]", "uuid[]", "smallint[]", "text[]"]
    values = []
    for parameter in parameters:
        text = (
            str(parameter).replace("'", '"')
            if not isinstance(parameter, list)
            else "{" + ",".join(str(item) for item in parameter) + "}"
        )
        values.append(f"'{text}'")
    await admin.execute(f"SET plan_cache_mode = force_{mode}_plan")
    await admin.execute(f"PREPARE explained ({', '.join(types)}) AS {sql}")
    plan = await admin.fetchval(f"EXPLAIN (FORMAT json) EXECUTE explained ({', '.join(values)})")
    await admin.execute("DEALLOCATE explained")
    return nodes(json.loads(plan)[0]["Plan"])


BIG = {"notifications", "deliveries", "recipients", "user_channel_prefs", "suppressions", "inbox"}


@pytest.mark.parametrize("mode", ["custom", "generic"])
async def test_claim_and_settle_go_by_index(admin: Connection, mode: str) -> None:
    await seed(admin)
    ids = [row["id"] for row in await admin.fetch("SELECT id FROM notify.notifications LIMIT 10")]
    token = uuid4()
    plans = await explain(admin, mode, delivery.SQL["claim"], "email", ids, [0] * 10, token, 60, "w", True)
    empty = ["x"] * 10
    plans += await explain(
        admin, mode, delivery.SQL["settle"], "email", ids, [token] * 10, empty, [0] * 10, *[empty] * 6
    )
    scanned = {node["Relation Name"] for node in plans if node["Node Type"] == "Seq Scan"}
    assert scanned.isdisjoint(BIG), scanned
    assert "deliveries_pkey" in {node.get("Index Name") for node in plans}
    assert "notifications_pkey" in {node.get("Index Name") for node in plans}


@pytest.mark.parametrize("mode", ["custom", "generic"])
async def test_the_inbox_costs_no_more_an_item_in_a_large_batch(admin: Connection, mode: str) -> None:
    """Only what is looked up in an index may be joined by a nested loop: two CTEs would cost the batch squared."""
    await seed(admin)
    batch = [uuid4() for _ in range(500)]
    users = [f"user-{number}" for number in range(500)]
    plans = await explain(
        admin, mode, delivery.SQL["settle_in_inbox"], "email", batch, [uuid4()] * 500, [1] * 500, users
    )
    inner = [node["Plans"][1]["Node Type"] for node in plans if node["Node Type"] == "Nested Loop"]
    assert set(inner) <= {"Index Only Scan", "Index Scan"}, inner


async def test_inapp_claims_look_up_no_contacts(admin: Connection) -> None:
    """The three lookups stand behind a condition that is false once and for all."""
    plans = await explain(
        admin, "generic", delivery.SQL["claim"], "inapp", [uuid4()], [0], uuid4(), 60, "w", False
    )
    gated = [node for node in plans if "$7" in node.get("One-Time Filter", "")]
    relations = {
        inner.get("Relation Name") for node in gated for inner in nodes(node) if inner.get("Relation Name")
    }
    assert relations >= {"recipients", "suppressions", "templates"}
