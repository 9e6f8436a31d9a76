"""Somebody with a history in every table, stream and state; and the search for what is left of it."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis.asyncio as aioredis

from db.pool import Connection, Pool
from outbox.erasure.eraser import Eraser
from outbox.erasure.streams import Streams
from outbox.nodes import Nodes
from outbox.settings import Settings
from tests.conftest import each_node
from tests.db.personal import where

MARK = "zq7x"  # in whatever is personal of her
ADA, EMAIL, PHONE = f"ada-{MARK}", f"ada.{MARK}@example.com", "+15550107777"
WORDS = [MARK, PHONE]
OTHER = "grace"


@dataclass(slots=True)
class History:
    """What Ada, and somebody else, have been told so far."""

    admin: Connection
    producer: Connection
    redis: "aioredis.Redis"
    settings: Settings

    async def notify(self, user_id: str = ADA, channel: str = "inapp", **columns: Any) -> UUID:
        notification_id = uuid4()
        columns = {
            "notification_id": notification_id,
            "event_type": "order.paid",
            "user_id": user_id,
            "channels": [channel],
            "payload": json.dumps({"title": f"Dear {user_id}"}),
        } | columns
        names, places = ", ".join(columns), ", ".join(f"${i + 1}" for i in range(len(columns)))
        await self.producer.execute(
            f"INSERT INTO notify.outbox ({names}) VALUES ({places})", *columns.values()
        )
        return notification_id

    async def in_every_table(self) -> None:
        """Rows as the service writes them, each with her mark."""
        one = await self.notify(
            dedup_key=f"key-{MARK}",
            digest_key=f"digest-{MARK}",
            traceparent=f"00-{'7a' * 16}-{'b' * 16}-01",
            channels=["inapp", "email", "sms", "push", "webhook"],
        )
        await self.notify(OTHER, actor_user_id=ADA)
        for statement in ROWS:
            await self.admin.execute(statement.replace(":one", f"'{one}'").replace(":mark", MARK))
        raw = json.dumps({"envelope": json.dumps({"user_id": ADA})[:-1], "attempt": "0"}).encode()
        await self.admin.execute(
            "INSERT INTO notify.notifications_failed (channel, error_class, reason, stream, entry_id, raw)"
            " VALUES ('email', 'undecodable', 'envelope', 's', '1-1', $1)",
            raw,
        )

    async def in_every_stream(self) -> None:
        """Entries of channels that no worker serves, pending or not, sound or not; and the copy of a dead letter."""
        keys = self.settings.keys
        for channel in ("inapp", "email", "sms", "push", "webhook"):
            for lane in ("urgent", "normal", "bulk"):
                stream = keys.stream(channel, lane)
                await self.redis.xgroup_create(stream, "workers", id="0", mkstream=True)
                for number, user in enumerate((ADA, OTHER, ADA), 1):
                    envelope = json.dumps({"v": 1, "user_id": user, "payload": {"title": user}})
                    await self.redis.xadd(
                        stream, {"envelope": envelope, "attempt": "0"}, id=f"1700000000000-{number}"
                    )
                await self.redis.xadd(
                    stream, {"envelope": f'{{"user_id":"{ADA}", oops'}, id="1700000000000-4"
                )
                await self.redis.xreadgroup("workers", "dead-worker", {stream: ">"}, count=2)

    async def found(self) -> set[tuple[str, str]]:
        return await where(self.admin, WORDS)

    async def in_redis(self) -> list[str]:
        """Every key that holds her, or is called after her."""
        found = []
        async with each_node(self.settings.redis) as nodes:
            for node in nodes:
                async for key in node.scan_iter(count=1000):
                    text = key + await content(node, key)
                    if any(word.encode() in text for word in WORDS):
                        found.append(key.decode())
        return found


ROWS = [
    f"INSERT INTO notify.recipients (user_id, email, phone, locale, time_zone, quiet_hours)"
    f" VALUES ('{ADA}', '{EMAIL}', '{PHONE}', 'en', 'Europe/:mark', '{{\"note\": \":mark\"}}')",
    f"INSERT INTO notify.device_tokens (user_id, platform, token) VALUES ('{ADA}', 'fcm', 'token-:mark')",
    f"INSERT INTO notify.user_channel_prefs (user_id, channel, constraints)"
    f" VALUES ('{ADA}', 'email', '{{\"note\": \":mark\"}}')",
    f"INSERT INTO notify.caps (user_id, channel, scope, used, ends_at) VALUES ('{ADA}', 'email', '*', 1, now())",
    "INSERT INTO notify.cap_slots (notification_id, channel) VALUES (:one, 'email')",
    "SELECT notify.collect(:one, 'email', 'digest-:mark', now() + interval '1 hour')",
    f"INSERT INTO notify.webhook_endpoints (channel, user_id, url)"
    f" VALUES ('webhook', '{ADA}', 'https://example.com/:mark')",
    f"INSERT INTO notify.endpoint_queue (channel, notification_id, endpoint, ms, row)"
    f" VALUES ('webhook', :one, '{ADA}', 1, 1)",
    f"INSERT INTO notify.endpoint_turns (channel, endpoint, notification_id, held_until)"
    f" VALUES ('webhook', '{ADA}', :one, now())",
    f"INSERT INTO notify.inbox (user_id, seq, notification_id) VALUES ('{ADA}', 1, :one)",
    f"INSERT INTO notify.inbox_counters (user_id, last_seq, unread, version) VALUES ('{ADA}', 1, 1, 1)",
    "INSERT INTO notify.deliveries (notification_id, channel, status, attempts_allowed, reason, provider_message_id)"
    " SELECT :one, c, s, 8, 'mailbox of :mark is full', '<:mark@mail>' FROM unnest("
    " '{inapp,email,sms,push,webhook}'::text[], '{delivered,failed,unknown,retrying,sending}'::text[]) AS x (c, s)",
    "INSERT INTO notify.delivery_events (notification_id, channel, event, detail)"
    " VALUES (:one, 'email', 'failed', '{\"reason\": \"no :mark here\"}')",
    "INSERT INTO notify.scheduled (due_at, notification_id, channels, reason)"
    " VALUES (now() + interval '1 day', :one, '{push}', 'retry')",
    "INSERT INTO notify.notifications_failed (notification_id, channel, error_class, reason)"
    " VALUES (:one, 'email', 'permanent', 'no :mark here')",
    "INSERT INTO notify.provider_events (provider, event_id, notification_id) VALUES ('twilio', 'ev-:mark', :one)",
    "INSERT INTO notify.sms_messages (message_id, channel, notification_id, status, rank, reason)"
    " VALUES ('SM-:mark', 'sms', :one, 'sent', 1, 'of :mark')",
    "INSERT INTO notify.push_attempts (notification_id, channel, device_id, status, attempt, message_id, reason)"
    " VALUES (:one, 'push', notify.uuid7(), 'failed', 1, 'm-:mark', 'of :mark')",
    f"INSERT INTO notify.suppressions (channel, address, reason)"
    f" VALUES ('email', '{EMAIL}', 'complaint'), ('sms', '{PHONE}', 'STOP')",
    f"INSERT INTO notify.api_keys (id, name, hash, scopes, created_by)"
    f" VALUES ('abcdefghijkl', 'shop', sha256('x'), '{{producer}}', '{ADA}')",
    f"INSERT INTO notify.audit_log (actor, via, action, target) VALUES ('{ADA}', 'token', 'channel.change', 'email')",
]


async def content(node: "aioredis.Redis", key: bytes) -> bytes:
    """All that a key holds, whatever it is."""
    reads: dict[Any, Any] = {
        b"string": lambda: node.get(key),
        b"stream": lambda: node.xrange(key),
        b"hash": lambda: node.hgetall(key),
        b"list": lambda: node.lrange(key, 0, -1),
        b"set": lambda: node.smembers(key),
        b"zset": lambda: node.zrange(key, 0, -1),
    }
    return repr(await reads[await node.type(key)]()).encode()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """What is under way is waited for as long as a lease lasts."""
    return settings.model_copy(update={"relay_lease": 2, "worker_lease": 2})


@pytest.fixture
def history(admin: Connection, producer: Connection, redis: "aioredis.Redis", settings: Settings) -> History:
    return History(admin, producer, redis, settings)


@pytest.fixture
def eraser(settings: Settings, pool: Pool, nodes: Nodes) -> Eraser:
    return Eraser(settings, pool, Streams(nodes, settings.keys))


async def carry_out(eraser: Eraser, seconds: float = 60) -> None:
    """Every erasure there is, the wait between its rounds among it."""
    unfinished = "SELECT EXISTS (SELECT FROM notify.erasures WHERE finished_at IS NULL)"
    async with asyncio.timeout(seconds):
        while await eraser.pool.fetchval(unfinished):  # noqa: ASYNC110 - a row tells, not an Event
            await asyncio.sleep(min(await eraser.step(), 0.05))
