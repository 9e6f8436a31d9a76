"""A channel's shards from outside: what is in them, and what should be."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from db.pool import Connection
from outbox.envelope import Envelope, from_entry
from outbox.streams import LANES
from relay.entries import StreamId
from tests.relay.conftest import Reader

MOST = 64
Found = dict[int, list[tuple[StreamId, Envelope]]]


@dataclass(frozen=True, slots=True)
class Outside:
    """Whoever changes a channel's number, and looks at all the streams that it may have."""

    admin: Connection
    reader: Reader

    async def set(self, channel: str, shards: int) -> None:
        await self.admin.execute(
            "INSERT INTO notify.channel_shards VALUES ($1, $2)"
            " ON CONFLICT (channel) DO UPDATE SET shards = excluded.shards",
            channel,
            shards,
        )

    async def found(self, channel: str, priority: str = "normal") -> Found:
        """What each shard holds, in its order; empty ones left out."""
        keys, found = self.reader.settings.keys, {}
        for shard in range(MOST):
            if raw := await self.reader.raw(keys.stream(channel, priority, shard)):
                found[shard] = [(StreamId.parse(entry_id), from_entry(fields)[0]) for entry_id, fields in raw]
        return found

    async def users(self, channel: str) -> Counter[str]:
        return Counter([each for shard in (await self.found(channel)).values() for each in users_of(shard)])

    async def until_users(self, channel: str, users: Iterable[str]) -> None:
        """Each as often as it was written, wherever; the failure says what was there instead."""
        wanted = Counter(users)

        async def there(_: Reader) -> bool:
            return await self.users(channel) >= wanted

        try:
            await self.reader.until(there)
        finally:
            assert await self.users(channel) == wanted

    async def expected_shard(self, user: str, shards: int) -> int:
        shard: int = await self.admin.fetchval("SELECT notify.shard_of($1, $2)", user, shards)
        return shard

    async def lanes(self, channel: str) -> dict[str, Found]:
        return {lane: await self.found(channel, lane) for lane in LANES}


def users_of(entries: Iterable[tuple[StreamId, Envelope]]) -> list[str]:
    return [envelope.user_id for _, envelope in entries]
