"""Into which shard a row goes. A channel's number of shards is a wish until a tick is made by it; from then on it is a
fact of that tick, so that every relay, and every refill, puts its rows where they were put first.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from asyncpg import Record

from db import shards as sql
from db.pool import Connection
from db.relay import Slots
from db.shards import Shards
from outbox.streams import Keys
from relay import metrics


@dataclass(frozen=True, slots=True)
class Placement:
    """How many shards each channel has, one where it is not named. `no` is its row; None where it needs none."""

    no: int | None = None
    shards: Mapping[str, int] = field(default_factory=dict)

    def of(self, channel: str) -> int:
        return self.shards.get(channel, 1)

    @property
    def slots(self) -> Slots:
        """As many as the most shards: since all are powers of two, a slot tells the shard in each channel."""
        return Slots(max(self.shards.values(), default=1), sorted(self.shards))


UNSHARDED = Placement()


def placement_of(record: Record) -> Placement:
    """A tick's."""
    number: int | None = record["placement"]
    return UNSHARDED if number is None else Placement(number, json.loads(record["shards"]))


def wanted(channels: Mapping[str, Shards]) -> Mapping[str, int]:
    return {name: each.shards for name, each in channels.items() if each.shards > 1}


async def next_placement(conn: Connection) -> tuple[Placement, dict[str, Shards]]:
    """By what the next ticks are to be made, and what of each channel may be in Redis then. It is a row before a tick
    names it, so that whoever reads the streams hears of them first."""
    channels = await sql.of_channels(conn)
    if not (shards := wanted(channels)):
        return UNSHARDED, channels
    placement = Placement(await sql.placement(conn, shards), shards)
    return placement, await sql.of_channels(conn)


def outlived(keys: Keys, streams: Iterable[str], channels: Mapping[str, Shards]) -> list[str]:
    """Streams of shards that no tick knows any more, so that nothing will ever be put into them."""
    places = ((stream, keys.place(stream)) for stream in streams)
    return [
        stream
        for stream, place in places
        if place.channel in channels and place.shard >= channels[place.channel].readable
    ]


def note_shards(channels: Mapping[str, Shards]) -> None:
    for name, each in channels.items():
        metrics.SHARDS.labels(name).set(each.shards)
