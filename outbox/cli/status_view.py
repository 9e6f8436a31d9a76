"""A look as tables, once or live, or as JSON."""

import asyncio
import json
import sys
from dataclasses import asdict

import asyncpg
from redis.exceptions import RedisError
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from outbox.cli import reach
from outbox.look import COUNTED_ROWS, Look, Stream, Waiting, take
from outbox.settings import Settings

STATES = (
    "pending",
    "sending",
    "retrying",
    "deferred",
    "digested",
    "delivered",
    "suppressed",
    "failed",
    "unknown",
    "expired",
    "canceled",
)
TONES = {"delivered": "green", "retrying": "yellow", "failed": "red", "unknown": "red"}
LATE_SECONDS = 5.0


async def show(settings: Settings, interval: float | None, *, as_json: bool) -> None:
    """Print one look, or with an interval one after the other until interrupted."""
    console = Console()
    if interval is None or as_json:
        await print_looks(settings, interval, console, as_json=as_json)
        return
    with Live(console=console, auto_refresh=False, screen=sys.stdout.isatty()) as live:
        while True:
            try:
                live.update(render(await look_once(settings)), refresh=True)
            except (reach.UnreachableError, OSError, asyncpg.PostgresError, RedisError) as error:
                live.update(Text(str(error), style="red"), refresh=True)
            await asyncio.sleep(interval)


async def print_looks(settings: Settings, interval: float | None, console: Console, *, as_json: bool) -> None:
    while True:
        look = await look_once(settings)
        if as_json:
            sys.stdout.write(json.dumps(asdict(look), default=str) + "\n")
            sys.stdout.flush()
        else:
            console.print(render(look))
        if interval is None:
            return
        await asyncio.sleep(interval)


async def look_once(settings: Settings) -> Look:
    """With connections of its own each time: a live view outlasts a restart of either server."""
    connection = await reach.postgres(settings.database, "status")
    try:
        nodes = await reach.redis(settings.redis)
        try:
            return await take(connection, nodes, settings.keys)
        finally:
            await nodes.aclose()
    finally:
        await connection.close()


def render(look: Look) -> RenderableType:
    return Group(
        Text(f"{look.at.astimezone():%Y-%m-%d %H:%M:%S}", style="dim"),
        headed("Relay", relay(look)),
        headed("Streams", streams(look.streams)),
        headed("Deliveries of the last 24 hours", deliveries(look)),
        headed("Waiting", waiting(look)),
    )


def table(*columns: str) -> Table:
    """The first column to the left, numbers to the right."""
    made = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False)
    for number, column in enumerate(columns):
        made.add_column(column, justify="right" if number else "left", header_style="dim", no_wrap=True)
    return made


def headed(title: str, below: RenderableType) -> RenderableType:
    return Group(Text(f"\n{title}", style="bold"), below)


def relay(look: Look) -> RenderableType:
    now = look.relay
    leads = now.lease_seconds is not None and now.lease_seconds > 0
    leader = Text(now.holder or "", style="green") if leads else Text("nobody leads", style="bold red")
    late = now.lag_seconds > LATE_SECONDS or (not leads and now.lag_rows)
    rows = f"{now.lag_rows:,}{'+' if now.lag_rows >= COUNTED_ROWS else ''} rows"
    lag = Text(f"{rows}, {age(now.lag_seconds)}" if now.lag_rows else "none", style="red" if late else "")
    grid = Table.grid(padding=(0, 3))
    grid.add_row(dim("leader"), leader, dim(f"lease {age(now.lease_seconds)}" if leads else ""))
    tick = f"{now.tick:,}" if now.tick is not None else "none yet"
    grid.add_row(
        dim("last tick"), tick, dim(f"{age(now.tick_age_seconds)} ago" if now.tick is not None else "")
    )
    grid.add_row(dim("lag"), lag)
    return grid


def streams(found: list[Stream]) -> RenderableType:
    made = table("stream", "length", "pending", "consumers", "oldest entry")
    for stream in found:
        alone = not stream.consumers and stream.length
        made.add_row(
            stream.name,
            f"{stream.length:,}",
            f"{stream.pending:,}",
            Text(str(stream.consumers), style="red" if alone else ""),
            age(stream.oldest_seconds),
        )
    if not found:
        made.add_row(dim("none yet: nothing was relayed"))
    return made


def deliveries(look: Look) -> RenderableType:
    """A column for each state that occurs."""
    states = [state for state in STATES if any(state in counts for counts in look.deliveries.values())]
    made = table("channel", *states)
    for channel in sorted({*look.deliveries, *look.disabled}):
        counts = look.deliveries.get(channel, {})
        name = Text(channel).append(" (off)", style="yellow") if channel in look.disabled else Text(channel)
        made.add_row(name, *(cell(state, counts.get(state, 0)) for state in states))
    if not made.row_count:
        made.add_row(dim("none"))
    return made


def cell(state: str, count: int) -> Text:
    return Text(f"{count:,}", style=TONES.get(state, "") if count else "dim")


def waiting(look: Look) -> RenderableType:
    made = table("", "", "")
    for item in look.scheduled:
        due = f"next in {age(item.seconds)}" if item.seconds > 0 else f"due since {age(-item.seconds)}"
        made.add_row(f"scheduled: {item.name}", f"{item.count:,}", due)
    for item in look.dead_letters:
        made.add_row(*(Text(part, style="red") for part in dead(item)))
    if not made.row_count:
        made.add_row(dim("nothing scheduled, no dead letters"))
    made.show_header = False
    return made


def dead(item: Waiting) -> tuple[str, str, str]:
    return f"dead letters: {item.name}", f"{item.count:,}", f"oldest {age(item.seconds)} ago"


def dim(text: str) -> Text:
    return Text(text, style="dim")


def age(seconds: float | None) -> str:
    """In the unit that suits it: 12 ms, 4.2 s, 3 min, 5 h, 2 d."""
    if seconds is None:
        return "–"
    for limit, size, unit in (
        (1, 0.001, "ms"),
        (10, 1, "s"),
        (120, 1, "s"),
        (7200, 60, "min"),
        (172_800, 3600, "h"),
    ):
        if seconds < limit:
            digits = 1 if limit == 10 else 0
            return f"{seconds / size:.{digits}f} {unit}"
    return f"{seconds / 86_400:.0f} d"
