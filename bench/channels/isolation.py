"""Isolation: what the other channels notice while one provider hangs and one endpoint answers 500.

Phases by turns, undisturbed and disturbed, at the same moderate rate; the figure is created → delivered, as the
database has it.
"""

import asyncio
from dataclasses import dataclass, field
from time import time

from rich.console import Console

from bench.channels import producer
from bench.channels.ground import Ground
from bench.channels.report import grid
from bench.run import percentile
from db.pool import Connection
from outbox.local.doubles.faults import Kind

OTHERS = ("inapp", "email", "push", "webhook")
SETTLE_SECONDS = 60  # for how long what came last in a phase is waited for
GOAL = 1.5
LATENCIES = """
SELECT d.channel, extract(epoch FROM d.settled_at - n.created_at)::float8
FROM notify.deliveries d JOIN notify.notifications n ON n.id = d.notification_id
WHERE d.status = 'delivered' AND n.created_at >= to_timestamp($1) AND n.created_at < to_timestamp($2)
  AND NOT EXISTS (SELECT FROM notify.webhook_endpoints e
                  WHERE d.channel = 'webhook' AND e.user_id = n.user_id AND e.url LIKE '%/ill')
"""
# Of the channels that are well; what waits for the ill ones is left out.
OPEN = """
SELECT count(*) FROM notify.notifications n CROSS JOIN unnest(n.channels) AS c (channel)
LEFT JOIN notify.deliveries d ON d.notification_id = n.id AND d.channel = c.channel
WHERE c.channel = ANY ($1::text[])
  AND coalesce(d.status, 'pending') IN ('pending', 'sending', 'retrying', 'deferred')
  AND NOT EXISTS (SELECT FROM notify.webhook_endpoints e
                  WHERE c.channel = 'webhook' AND e.user_id = n.user_id AND e.url LIKE '%/ill')
"""

OWED = """
SELECT count(*) FROM notify.deliveries WHERE status IN ('pending', 'sending', 'retrying', 'deferred')
"""
CATCH_UP_SECONDS = 600


@dataclass(slots=True)
class Isolation:
    """Milliseconds from created to delivered, by channel and kind of phase. The ill endpoint's are left out."""

    rate: float
    seconds: float
    rounds: int
    undisturbed: dict[str, dict[str, float]] = field(default_factory=dict)
    disturbed: dict[str, dict[str, float]] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    holds: bool = False


async def isolation(made: Ground, rate: float, seconds: float, rounds: int, console: Console) -> Isolation:
    found = Isolation(rate, seconds, rounds)
    calm: dict[str, list[float]] = {}
    ill: dict[str, list[float]] = {}
    async with made.servers.admin(made.database.name) as conn:
        await set_apart(made, conn)
        console.print("warming up", highlight=False)
        await phase(made, conn, rate, min(seconds, 10))  # templates, connections and tokens are there now
        for number in range(rounds):
            console.print(f"round {number + 1} of {rounds}: undisturbed for {seconds:g} s", highlight=False)
            gather(calm, await phase(made, conn, rate, seconds))
            console.print(
                f"round {number + 1} of {rounds}: disturbed for {seconds:g} s; so far {told(calm)}",
                highlight=False,
            )
            disturb(made)
            gather(ill, await phase(made, conn, rate, seconds))
            heal(made)
            console.print(f"disturbed {told(ill)}; what was held up is caught up with", highlight=False)
            await caught_up(conn)
    found.undisturbed, found.disturbed = figures(calm), figures(ill)
    found.ratios = {
        name: round(found.disturbed[name]["p99"] / found.undisturbed[name]["p99"], 2) for name in OTHERS
    }
    found.holds = all(ratio <= GOAL for ratio in found.ratios.values())
    return found


async def set_apart(made: Ground, conn: Connection) -> None:
    """One user's endpoint in a hundred is the ill one."""
    await conn.execute(
        "UPDATE notify.webhook_endpoints SET url = $1 WHERE url LIKE '%/u1'",
        f"{made.doubles.receiver.double.url}/ill",
    )


def disturb(made: Ground) -> None:
    for twilio in made.doubles.twilio:
        twilio.double.menu.order(Kind.HANG, times=None)
    made.doubles.receiver.double.menu.order(Kind.ANSWER, times=None, status=500, path="/ill")


def heal(made: Ground) -> None:
    for twilio in made.doubles.twilio:
        twilio.double.menu.clear()
        twilio.double.front.reset_all()
    made.doubles.receiver.double.menu.clear()


async def phase(made: Ground, conn: Connection, rate: float, seconds: float) -> dict[str, list[float]]:
    """Latencies of what was created in it, once all of that has arrived. Raises TimeoutError."""
    began = time()
    await producer.steady(made.database.producer, rate, seconds)
    ended = time()
    async with asyncio.timeout(SETTLE_SECONDS):
        while await conn.fetchval(OPEN, OTHERS):  # noqa: ASYNC110 - the database tells nobody
            await asyncio.sleep(0.1)
    times: dict[str, list[float]] = {}
    for channel, latency in await conn.fetch(LATENCIES, began, ended):
        times.setdefault(channel, []).append(latency)
    return times


async def caught_up(conn: Connection) -> None:
    """What the ill ones owe is sent before the next undisturbed phase, or it would be disturbed by that. Raises
    TimeoutError."""
    async with asyncio.timeout(CATCH_UP_SECONDS):
        while await conn.fetchval(OWED):  # noqa: ASYNC110 - the database tells nobody
            await asyncio.sleep(0.5)


def told(times: dict[str, list[float]]) -> str:
    """The p99 of each channel, for whoever waits."""
    return ", ".join(
        f"{name} {figure['p99']:g} ms" for name, figure in figures(times).items() if name in OTHERS
    )


def gather(into: dict[str, list[float]], times: dict[str, list[float]]) -> None:
    for channel, latencies in times.items():
        into.setdefault(channel, []).extend(latencies)


def figures(times: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    return {
        channel: {
            "p50": round(1000 * percentile(latencies, 50), 1),
            "p99": round(1000 * percentile(latencies, 99), 1),
            "number": len(latencies),
        }
        for channel, latencies in sorted(times.items())
    }


def show_isolation(found: Isolation, console: Console) -> None:
    rows = {
        name: [
            *(found.undisturbed[name][which] for which in ("p50", "p99", "number")),
            *(found.disturbed[name][which] for which in ("p50", "p99", "number")),
            found.ratios[name],
        ]
        for name in OTHERS
    }
    columns = ["p50 ms", "p99 ms", "number", "disturbed p50", "p99 ms", "number", "p99 ratio"]
    console.print(grid("channel", columns, rows))
    verdict = "[green]isolated[/]" if found.holds else "[red]not isolated[/]"
    console.print(f"{found.rounds} rounds of 2 × {found.seconds:g} s at {found.rate:g}/s: {verdict}")
