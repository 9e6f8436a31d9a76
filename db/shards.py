"""Into how many shards each channel goes, and by what ticks were made (db/sql/shards.sql)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from db.pool import Executor
from db.statements import load

SQL = load("shards")


@dataclass(frozen=True, slots=True)
class Shards:
    """Of one channel. `shards`: into how many its next ticks go; `readable`: how many may hold something."""

    shards: int
    readable: int


async def of_channels(conn: Executor) -> dict[str, Shards]:
    """Of every channel there is."""
    rows = await conn.fetch(SQL["of_channels"])
    return {row["channel"]: Shards(row["shards"], row["readable"]) for row in rows}


async def placement(conn: Executor, shards: Mapping[str, int]) -> int:
    """The number of the placement with these shards, from now on part of what is readable."""
    number: int = await conn.fetchval(SQL["placement"], json.dumps(shards))
    return number


async def drop_placements(conn: Executor, current: int | None) -> int:
    """How many went."""
    return int((await conn.execute(SQL["drop_placements"], current)).split()[-1])
