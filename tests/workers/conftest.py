"""What the tests of the workers share: entries as the relay would write them, running workers, a mail server."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import redis.asyncio as aioredis

from db.pool import Connection
from outbox.envelope import Envelope
from outbox.nodes import Nodes
from outbox.service import Stop
from outbox.settings import Settings
from tests.workers.mail import MailServer, mail_server
from workers.main import main

DEADLINE_SECONDS = 60.0


async def eventually(look: Callable[[], Awaitable[bool]], what: str = "it") -> None:
    """Wait until it is so; fail after the deadline."""
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not await look():  # noqa: ASYNC110 - it looks at a row or a stream, which sets no Event
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"waited {DEADLINE_SECONDS} s in vain until {what}")


@dataclass
class Road:
    """The road up to the workers: notifications in Postgres and their entries in the streams."""

    admin: Connection
    producer: Connection
    redis: "aioredis.Redis"
    nodes: Nodes
    settings: Settings
    numbers: "count[int]" = field(default_factory=lambda: count(1))
    appending: asyncio.Lock = field(default_factory=asyncio.Lock)  # ids only grow

    async def notify(self, channel: str = "inapp", **columns: Any) -> UUID:
        """A committed notification, without an entry."""
        notification_id = uuid4()
        columns = {
            "notification_id": notification_id,
            "event_type": "order.paid",
            "user_id": "ada",
            "channels": [channel],
            "payload": json.dumps({"title": "Paid", "body": "Thank you"}),
        } | columns
        if isinstance(columns["payload"], dict):
            columns["payload"] = json.dumps(columns["payload"])
        names, places = ", ".join(columns), ", ".join(f"${i + 1}" for i in range(len(columns)))
        await self.producer.execute(
            f"INSERT INTO notify.outbox ({names}) VALUES ({places})", *columns.values()
        )
        return notification_id

    async def entry(
        self, notification_id: UUID, channel: str = "inapp", attempt: int = 0, shard: int = 0
    ) -> bytes:
        """The relay's part: its entry in the stream."""
        row = await self.admin.fetchrow("SELECT * FROM notify.notifications WHERE id = $1", notification_id)
        assert row is not None
        facts = {key: value for key, value in row.items() if key in Envelope.model_fields}
        facts["payload"] = json.loads(facts["payload"])
        envelope = Envelope(notification_id=notification_id, **facts)
        return await self.append(envelope.to_entry(attempt), channel, row["priority"], shard)

    async def append(
        self, fields: dict[Any, Any], channel: str = "inapp", priority: str = "normal", shard: int = 0
    ) -> bytes:
        stream = self.settings.keys.stream(channel, priority, shard)
        async with self.appending:
            added = await self.redis.xadd(stream, fields, id=f"1700000000000-{next(self.numbers)}")
        assert isinstance(added, bytes)
        return added

    async def send(self, channel: str = "inapp", *, shard: int = 0, **columns: Any) -> UUID:
        """Both."""
        notification_id = await self.notify(channel, **columns)
        await self.entry(notification_id, channel, shard=shard)
        return notification_id

    async def promote(self) -> int:
        """The relay's part for what is due: due rows become entries. Gives how many."""
        rows = await self.admin.fetch(
            "DELETE FROM notify.scheduled WHERE due_at <= clock_timestamp() "
            "RETURNING notification_id, channels, attempt"
        )
        for row in rows:
            for channel in row["channels"]:
                await self.entry(row["notification_id"], channel, row["attempt"])
        return len(rows)

    async def delivery(self, notification_id: UUID, channel: str = "inapp") -> asyncpg.Record | None:
        return await self.admin.fetchrow(
            "SELECT * FROM notify.deliveries WHERE notification_id = $1 AND channel = $2",
            notification_id,
            channel,
        )

    async def status(self, notification_id: UUID, channel: str = "inapp") -> str | None:
        row = await self.delivery(notification_id, channel)
        return row["status"] if row else None

    async def until(self, notification_id: UUID, status: str, channel: str = "inapp") -> None:
        async def there() -> bool:
            return await self.status(notification_id, channel) == status

        await eventually(there, f"the {channel} delivery is {status}")

    async def events(self, notification_id: UUID) -> list[tuple[str, dict[str, Any]]]:
        rows = await self.admin.fetch(
            "SELECT event, detail FROM notify.delivery_events WHERE notification_id = $1 ORDER BY at",
            notification_id,
        )
        return [(row["event"], json.loads(row["detail"])) for row in rows]

    async def until_empty(self, channel: str = "inapp", priority: str = "normal") -> None:
        """Until everything is acknowledged and deleted."""
        stream = self.settings.keys.stream(channel, priority)

        async def empty() -> bool:
            return await self.redis.xlen(stream) == 0

        await eventually(empty, f"{stream} is empty")

    @asynccontextmanager
    async def worker(self, *channels: str, **changes: Any) -> AsyncIterator[Stop]:
        """A worker process's main, stopped in two phases at the end."""
        async with self.workers(channels or ("inapp",), changes) as stop:
            yield stop

    @asynccontextmanager
    async def all_workers(self, **changes: Any) -> AsyncIterator[Stop]:
        """The same for all channels there are, and will be."""
        async with self.workers((), changes) as stop:
            yield stop

    @asynccontextmanager
    async def workers(
        self, channels: Sequence[str], changes: dict[str, Any], left_out: Sequence[str] = ()
    ) -> AsyncIterator[Stop]:
        stop = Stop()
        settings = self.settings.model_copy(update=changes)
        running = asyncio.create_task(main(settings, channels, stop, left_out))
        try:
            yield stop
        finally:
            stop.ask()
            await running

    async def recipient(self, user_id: str = "ada", email: str = "ada@example.com", **columns: Any) -> None:
        columns = {"user_id": user_id, "email": email} | columns
        names, places = ", ".join(columns), ", ".join(f"${i + 1}" for i in range(len(columns)))
        await self.admin.execute(
            f"INSERT INTO notify.recipients ({names}) VALUES ({places})", *columns.values()
        )


@pytest.fixture
def road(
    admin: Connection, producer: Connection, redis: "aioredis.Redis", nodes: Nodes, settings: Settings
) -> Road:
    return Road(admin, producer, redis, nodes, settings.model_copy(update={"shutdown_grace": 8}))


@pytest.fixture
async def mail(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MailServer]:
    async with mail_server() as server:
        monkeypatch.setenv("SMTP_URL", f"smtp://127.0.0.1:{server.port}")
        yield server
