"""DELETE /v1/notifications/{id}: what is stopped, what is too late, and that asking again changes nothing."""

import asyncio
from dataclasses import replace
from uuid import UUID, uuid4

import httpx

from db import delivery
from db.delivery import Claimant
from db.pool import Connection, Pool
from tests.outbox.api.answers import fields, problem
from tests.outbox.api.test_show import create, show

WHO = Claimant("email", "worker", UUID(int=1), 60, contacts=False)


async def claim(pool: Pool, identity: str, channel: str = "email") -> delivery.Claim:
    async with pool.acquire() as connection:
        who = replace(WHO, channel=channel, token=uuid4())
        (found,) = await delivery.claim(connection, who, [UUID(identity)], [0])
    return found


async def cancel(api: httpx.AsyncClient, identity: str) -> dict[str, tuple[bool, str]]:
    answer = await api.delete(f"/v1/notifications/{identity}")
    assert answer.status_code == 200, answer.text
    return {item["channel"]: (item["stopped"], item["status"]) for item in answer.json()["deliveries"]}


async def test_what_no_worker_has_had_is_stopped(api: httpx.AsyncClient, pool: Pool) -> None:
    identity = await create(api)
    for _ in range(2):
        assert await cancel(api, identity) == {"inapp": (True, "canceled"), "email": (True, "canceled")}
    assert (await claim(pool, identity)).attempts is None
    shown = await show(api, identity)
    assert shown["status"] == "canceled"
    assert [each["why"] for each in shown["deliveries"]] == ["canceled before it was sent"] * 2
    told = [(event["channel"], event["event"]) for event in shown["timeline"]]
    assert sorted(told, key=str) == [
        ("email", "canceled"),
        ("inapp", "canceled"),
        (None, "canceled"),
        (None, "created"),
    ]


async def test_what_is_under_way_or_over_is_told(
    api: httpx.AsyncClient, pool: Pool, admin: Connection
) -> None:
    identity = await create(api, channels=["inapp", "email", "sms"])
    await claim(pool, identity, "inapp")
    await admin.execute("UPDATE notify.deliveries SET status = 'delivered'")
    await claim(pool, identity, "email")
    answer = (await api.delete(f"/v1/notifications/{identity}")).json()
    assert answer["canceled_at"]
    assert {item["channel"]: (item["stopped"], item["detail"]) for item in answer["deliveries"]} == {
        "inapp": (False, "it was delivered before; in-app, it stays in the inbox"),
        "email": (False, "an attempt is under way; if it fails, no other is made"),
        "sms": (True, "nothing is sent"),
    }


async def test_what_is_scheduled_is_taken_out(api: httpx.AsyncClient, admin: Connection) -> None:
    identity = await create(
        api, channels=["inapp", "email"], deliver_at="2190-01-01T00:00:00Z", escalate_after=60
    )
    assert await admin.fetchval("SELECT count(*) FROM notify.scheduled") == 2
    assert await cancel(api, identity) == {"inapp": (True, "canceled"), "email": (True, "canceled")}
    assert await admin.fetchval("SELECT count(*) FROM notify.scheduled") == 0


async def test_whoever_is_first_decides(api: httpx.AsyncClient, pool: Pool) -> None:
    """A claim and a cancellation at once: either it is stopped and nobody has it, or it is not and somebody has."""
    for _ in range(20):
        identity = await create(api, channels=["email"])
        answer, claimed = await asyncio.gather(cancel(api, identity), claim(pool, identity))
        stopped, status = answer["email"]
        assert stopped is (claimed.attempts is None), (status, claimed)


async def test_only_what_is_there_can_be_canceled(api: httpx.AsyncClient) -> None:
    assert problem(await api.delete(f"/v1/notifications/{uuid4()}"), 404, "not-found") == []
    assert fields(await api.delete("/v1/notifications/x")) == ["id"]


async def test_a_digest_still_open_lets_go(api: httpx.AsyncClient, pool: Pool, admin: Connection) -> None:
    identity = await create(api, channels=["email"])
    async with pool.acquire() as connection:
        await connection.execute(
            "SELECT notify.collect($1, 'email', 'k', clock_timestamp() + interval '1 h')", UUID(identity)
        )
    await claim(pool, identity)
    await admin.execute("UPDATE notify.deliveries SET status = 'digested', reason = 'told in a digest'")
    shown = await show(api, identity)
    digest = await admin.fetchval("SELECT id FROM notify.digests")
    assert shown["deliveries"][0]["why"] == f"told in a digest: digest {digest}"
    assert await cancel(api, identity) == {"email": (True, "canceled")}
    waiting = await show(api, str(digest))
    assert waiting["deliveries"][0]["why"] == "it is collecting what it will tell"


async def test_one_in_a_closed_digest_is_too_late(
    api: httpx.AsyncClient, pool: Pool, admin: Connection
) -> None:
    identity = await create(api, channels=["email"])
    await admin.execute("SELECT notify.collect($1, 'email', 'k', clock_timestamp())", UUID(identity))
    await claim(pool, identity)
    await admin.execute("UPDATE notify.deliveries SET status = 'digested'")
    await admin.execute("UPDATE notify.digests SET closed_at = now()")
    assert await cancel(api, identity) == {"email": (False, "digested")}
