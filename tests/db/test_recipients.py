"""Recipients made up for tests: each address has one of its own, whom the workers ask for nowhere."""

import asyncio

from db import recipients
from db.pool import Connection, Pool
from db.recipients import Recipient


async def test_each_address_has_one_of_its_own(pool: Pool, admin: Connection) -> None:
    async def made(number: int) -> str | None:
        async with pool.acquire() as conn:
            return await recipients.stand_in(conn, "sms", f"+4917000000{number:02}", "de")

    ids = await asyncio.gather(*(made(number) for number in range(8)))
    kept = {row["user_id"]: row["phone"] for row in await admin.fetch("SELECT * FROM notify.recipients")}
    # Two who take the same place at once: the second gets nothing, and may ask again.
    assert {id_: phone for id_, phone in kept.items() if id_ in ids} == {
        id_: f"+4917000000{number:02}" for number, id_ in enumerate(ids) if id_
    }
    assert kept.keys() == set(ids) - {None}


async def test_they_are_asked_for_nowhere(pool: Pool) -> None:
    async with pool.acquire() as conn:
        made = await recipients.stand_in(conn, "email", "ada@example.org", None)
        await recipients.remember(conn, [Recipient("bob")])
        asked = await recipients.to_ask_for(conn, [made or "", "bob", "eve"], 0)
        assert asked == {"bob": True, "eve": False}
        shown = await recipients.one(conn, made or "")
    assert shown is not None
    assert shown.facts.email == "ada@example.org"
