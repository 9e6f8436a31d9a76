"""P2 with kill -9 at every step of the relay: each row once in each stream, whichever step was its last."""

import asyncio
import signal
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from db.pool import Connection
from outbox.settings import Settings
from tests.conftest import Database
from tests.faults.conftest import process
from tests.relay.conftest import Reader, relaying

INSERT = "INSERT INTO notify.outbox (event_type, user_id, channels) VALUES ('a', $1, '{inapp,email}')"
LATER = (
    "INSERT INTO notify.outbox (event_type, user_id, channels, deliver_at)"
    " VALUES ('a', $1, '{inapp,email}', clock_timestamp() + interval '0.2 s')"
)
POINTS = [
    ("db.relay:take_lease", "after", 1),
    ("db.relay:look_and_tick", "before", 2),
    ("db.relay:look_and_tick", "after", 2),  # a tick, or not: nobody was told
    ("db.relay:look_and_tick", "after", 5),
    ("db.relay:look", "after", 2),
    ("db.relay:insert_tick", "before", 1),
    ("db.relay:insert_tick", "after", 1),
    ("db.relay:insert_tick", "after", 3),
    ("relay.streams:Streams.append", "before", 1),
    ("relay.streams:Streams.append", "after", 1),  # one of two streams has it
    ("relay.streams:Streams.append", "after", 2),
    ("relay.streams:Streams.append", "after", 5),
    ("relay.ship:Shipper.ship_tick", "after", 2),
    ("db.relay:set_flag", "before", 1),
    ("db.relay:set_flag", "after", 1),
    ("db.relay:promote_due", "after", 1),
]


@pytest.fixture
def reader(redis: "object", settings: Settings) -> Reader:
    return Reader(redis, settings)  # type: ignore[arg-type]  # the redis fixture's client


@pytest.mark.parametrize(("point", "when", "number"), POINTS)
async def test_p2_kill_9_at_a_named_point(
    settings: Settings, producer: Connection, reader: Reader, point: str, when: str, number: int
) -> None:
    settings = settings.model_copy(update={"relay_lease": 1})
    async with process("tests.faults.victim", "relay", point, when, str(number), settings=settings) as victim:
        users: list[str] = []
        dying = {asyncio.create_task(victim.wait())}
        async with asyncio.timeout(60):
            while victim.returncode is None:
                users.append(f"u{len(users)}")
                await producer.execute(LATER if len(users) == 3 else INSERT, users[-1])
                # In bursts, with a gap in which the relay falls asleep.
                await asyncio.wait(dying, timeout=0.02 if len(users) % 5 else 0.2)
        assert victim.returncode == -signal.SIGKILL
    await producer.execute(INSERT, "after")
    users.append("after")
    async with relaying(settings):
        for channel in ("inapp", "email"):
            await reader.until(holding(users, channel))
    for channel in ("inapp", "email"):
        assert sorted(await reader.users(channel)) == sorted(users), "each once"
        in_order = [user for user in await reader.users(channel) if user != "u2"]
        assert in_order == [user for user in users if user != "u2"], "the scheduled one comes when due"


def holding(users: list[str], channel: str) -> Callable[[Reader], Awaitable[bool]]:
    async def check(reader: Reader) -> bool:
        return set(await reader.users(channel)) == set(users)

    return check


async def test_p2_a_relay_paused_with_a_tick_in_hand_wakes_up_late(
    settings: Settings, database: Database, producer: Connection, reader: Reader
) -> None:
    """SIGSTOP beyond the lease, another relay takes over and goes on, SIGCONT: nothing comes twice."""
    settings = settings.model_copy(update={"relay_lease": 1})
    lookout = await asyncpg.connect(database.admin)
    async with process("outbox.cli", "relay", settings=settings) as frozen:
        await producer.execute(INSERT, "first")
        await reader.until_users(["first"], "email")
        users = ["first"]
        for round_number in range(3):
            busy = [f"r{round_number}-{n}" for n in range(20)]
            writing = asyncio.create_task(write(producer, busy))
            await reader.until(longer_than(len(users)))
            frozen.send_signal(signal.SIGSTOP)
            users += await writing
            async with relaying(settings):
                await reader.until(holding(users, "email"))
                frozen.send_signal(signal.SIGCONT)
                await producer.execute(INSERT, f"late {round_number}")
                users.append(f"late {round_number}")
                await reader.until(holding(users, "email"))
        for channel in ("inapp", "email"):
            await reader.until_users(users, channel)
        assert await lookout.fetchval("SELECT count(*) FROM notify.outbox") == len(users)
    await lookout.close()


async def write(producer: Connection, users: list[str]) -> list[str]:
    for user in users:
        await producer.execute(INSERT, user)
    return users


def longer_than(length: int) -> Callable[[Reader], Awaitable[bool]]:
    async def check(reader: Reader) -> bool:
        return len(await reader.users("email")) > length

    return check
