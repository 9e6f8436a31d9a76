"""The road itself, now: who leads, what waits, who works, what has failed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from asyncpg import Record
from redis.exceptions import ResponseError

from db import doctor as sql
from db import status
from db.shards import of_channels
from outbox import look
from outbox.doctor.desk import Area, Check, Desk
from outbox.doctor.finding import Finding, fail, note, ok, warn
from outbox.doctor.words import span
from outbox.look import Relay
from outbox.settings import Settings
from outbox.streams import GROUP

LAG_SECONDS = 10.0
OVERDUE_SECONDS = 30.0
# Workers read once a second, even where nothing comes.
ACTIVE_SECONDS = 15.0
COUNTED_ROWS = 10_000
RUN_RELAY = "outbox relay (and look at its log: outbox logs relay, journalctl, or your engine's)"


@dataclass(frozen=True, slots=True)
class Lead:
    relay: Relay
    behind: Sequence[str]


async def lead(desk: Desk) -> Lead:
    async with desk.pool.acquire() as conn:
        return Lead(await look.look_at_relay(conn), await sql.behind(conn))


def judge_lead(seen: Lead) -> Iterator[Finding]:
    relay = seen.relay
    if relay.lease_seconds is None or relay.lease_seconds <= 0:
        yield fail("relay.leader", "no relay leads: nothing new reaches the streams", RUN_RELAY)
    else:
        yield ok("relay.leader", f"{relay.holder} leads")
    if relay.lag_seconds > LAG_SECONDS:
        yield fail(
            "relay.lag",
            f"{relay.lag_rows:,} committed rows wait, the oldest for {span(relay.lag_seconds)}",
            RUN_RELAY,
        )
    else:
        yield ok("relay.lag", f"{relay.lag_rows:,} committed rows wait")
    for lane in seen.behind:
        yield warn(
            "relay.behind",
            f"the stream {lane} is full, or being filled again after a loss",
            f"outbox status; if it stays: more workers (outbox worker {lane.partition('.')[0]}), or a higher "
            "OUTBOX_STREAM_MAX_LENGTH",
        )


@dataclass(frozen=True, slots=True)
class Lane:
    """One stream: its entries, how many are with workers, for how long the one that rests longest has, and how many
    consumers have asked for entries lately."""

    stream: str
    channel: str
    length: int
    pending: int
    oldest_idle_seconds: float
    active: int


@dataclass(frozen=True, slots=True)
class Lanes:
    lanes: Sequence[Lane]
    enabled: Sequence[str]
    settings: Settings


async def lanes(desk: Desk) -> Lanes:
    channels = [row["name"] for row in await desk.ask(status.channels) if row["enabled"]]
    readable = {name: each.readable for name, each in (await desk.ask(of_channels)).items()}
    streams = [(name, each) for name in channels for each in desk.settings.keys.streams(name, readable[name])]
    found = [await lane(desk, *each) for each in streams]
    return Lanes([each for each in found if each is not None], channels, desk.settings)


async def lane(desk: Desk, channel: str, stream: str) -> Lane | None:
    """None where nothing was ever sent that way, or nobody has read it."""
    try:
        async with desk.nodes.at(stream) as redis:
            length = await redis.xlen(stream)
            consumers: list[dict[str, Any]] = await redis.xinfo_consumers(stream, GROUP)
            pending: list[dict[str, Any]] = await redis.xpending_range(stream, GROUP, "-", "+", 100)
    except ResponseError as error:
        if "no such key" in str(error):
            return None
        return Lane(stream, channel, length if "NOGROUP" in str(error) else 0, 0, 0, 0)
    active = sum(consumer["idle"] < ACTIVE_SECONDS * 1000 for consumer in consumers)
    idle = max((entry["time_since_delivered"] for entry in pending), default=0) / 1000
    return Lane(stream, channel, length, sum(c["pending"] for c in consumers), idle, active)


def judge_lanes(seen: Lanes) -> Iterator[Finding]:
    for channel in seen.enabled:
        yield workers(channel, [each for each in seen.lanes if each.channel == channel])
    for each in seen.lanes:
        yield from crowded(each, seen.settings)


def workers(channel: str, its: Sequence[Lane]) -> Finding:
    run = f'outbox worker {channel}, or switch the channel off: PATCH /v1/channels/{channel} {{"enabled": false}}'
    waiting, active = sum(each.length for each in its), sum(each.active for each in its)
    if active:
        return ok(f"workers.{channel}", f"{channel}: {waiting:,} entries in its streams, workers are reading")
    if waiting:
        return fail(
            f"workers.{channel}", f"{channel}: {waiting:,} entries wait and no worker reads them", run
        )
    return warn(f"workers.{channel}", f"{channel} is enabled and no worker reads its streams", run)


def crowded(lane: Lane, settings: Settings) -> Iterator[Finding]:
    if lane.length > 0.8 * settings.stream_max_length:
        yield warn(
            "streams.length",
            f"{lane.stream} holds {lane.length:,} of OUTBOX_STREAM_MAX_LENGTH={settings.stream_max_length:,}",
            f"more workers: outbox worker {lane.channel}",
        )
    if lane.oldest_idle_seconds > 3 * settings.worker_lease:
        yield warn(
            "streams.pending",
            f"{lane.stream}: a worker has held an entry for {span(lane.oldest_idle_seconds)}, and nobody took it over",
            f"restart the workers of {lane.channel}; OUTBOX_WORKER_LEASE is {settings.worker_lease:g} s",
        )


@dataclass(frozen=True, slots=True)
class Left:
    """What has failed for good and what is late."""

    dead: Sequence[Record]
    overdue_rows: int
    overdue_seconds: float


async def left(desk: Desk) -> Left:
    async with desk.pool.acquire() as conn:
        return Left(await sql.dead_letters(conn), *await sql.overdue(conn, OVERDUE_SECONDS))


def judge_left(seen: Left) -> Iterator[Finding]:
    for row in seen.dead:
        what = f"{row['open']:,} open dead letters of {row['channel']}"
        advice = f"outbox dlq list --channel {row['channel']}, then outbox dlq redrive"
        if row["recent"]:
            yield warn("dead_letters", f"{what}, {row['recent']:,} of them in the last hour", advice)
        else:
            yield note("dead_letters", f"{what}, none in the last hour", advice)
    if seen.overdue_rows:
        yield fail(
            "scheduled",
            f"{seen.overdue_rows:,} scheduled deliveries are overdue, the first by {span(seen.overdue_seconds)}",
            RUN_RELAY,
        )
    if not (seen.dead or seen.overdue_rows):
        yield ok("dead_letters", "no dead letters, nothing overdue")


AREA = Area(
    "road",
    frozenset({"postgres", "redis"}),
    (
        Check("relay.lead", lead, judge_lead),
        Check("workers", lanes, judge_lanes),
        Check("dead_letters", left, judge_left),
    ),
)
