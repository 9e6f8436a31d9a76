"""What a channel's config is made into, and when it is closed."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from db.delivery import Claim
from db.pool import Connection
from outbox.errors import SettingsError
from workers.configured import Configured
from workers.outcome import Transient


class Closed(list[str]):
    """The names of what was closed."""

    async def close(self, made: str) -> None:
        self.append(made)


def make(config: Mapping[str, Any]) -> str:
    if "name" not in config:
        raise SettingsError("name is missing")
    return str(config["name"])


async def configure(admin: Connection, configured: Configured[str], **config: str) -> None:
    version = await admin.fetchval(
        "UPDATE notify.channels SET config = $1 WHERE name = 'sms' RETURNING version", json.dumps(config)
    )
    await configured.refresh(admin, [a_claim(version)])


def a_claim(version: int) -> Claim:
    facts = dict.fromkeys(Claim._fields)
    return Claim(**facts | {"version": version})  # type: ignore[arg-type]  # nothing else is looked at


async def test_a_new_config_does_not_close_what_an_attempt_sends_with(admin: Connection) -> None:
    """It did: with requests on its connections, and the attempts that came next failed on a closed client."""
    closed = Closed()
    configured = Configured("sms", make, closed.close)
    await configure(admin, configured, name="first")
    inside, leave = asyncio.Event(), asyncio.Event()

    async def attempt() -> None:
        async with configured.use() as made:
            assert made == "first"
            inside.set()
            await leave.wait()

    attempts = [asyncio.create_task(attempt()) for _ in range(2)]
    await inside.wait()
    await configure(admin, configured, name="second")
    async with configured.use() as made:
        assert (made, closed) == ("second", [])
    leave.set()
    await asyncio.gather(*attempts)
    assert closed == ["first"]
    await configured.close()
    assert closed == ["first", "second"]


async def test_nothing_is_sent_with_a_config_that_cannot_be_used(admin: Connection) -> None:
    closed = Closed()
    configured = Configured("sms", make, closed.close)
    await configure(admin, configured, name="first")
    await configure(admin, configured)
    async with configured.use() as made:
        assert made == configured.get() == Transient("config", "name is missing")
    assert closed == ["first"]


async def test_what_cannot_be_closed_costs_no_attempt_its_outcome(admin: Connection) -> None:
    async def fail(_: str) -> None:
        raise RuntimeError("closed twice")

    configured = Configured("sms", make, fail)
    await configure(admin, configured, name="first")
    async with configured.use() as made:
        await configure(admin, configured, name="second")
    assert made == "first"
    await configure(admin, configured, name="third")
    assert configured.get() == "third"
