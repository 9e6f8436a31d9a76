"""How fast a backlog goes from the log into a stream, beside the alternatives and beside what limits them all."""

from dataclasses import replace
from functools import partial
from typing import Any

from bench import limits
from bench.drains import EMAIL, INAPP, ours, prepared, theirs
from bench.load import filled
from bench.measure import drained
from bench.peers.textbook import PAGES
from bench.processes import service
from bench.run import Goal, Result, Rounds, ahead, at_least, of_rounds
from bench.servers import Servers
from bench.session import FAILURES, Measure, Session

LIMITS = ("xadd", "xadd_raw", "read")


async def measure(session: Session) -> tuple[Result, list[Goal]]:
    servers = await session.servers()
    rows = session.pick(2_000, 200_000)
    one = await filled(servers, "one_channel", rows)
    two = await filled(servers, "two_channels", rows, "inapp,email")
    peers, runs = await alternatives(session)
    bounding = await limits_of(session, servers, one, rows)
    found = await session.alternate(
        {
            "ours": partial(ours, servers, one, rows),
            **bounding,
            **runs,
            "ours_two_channels": partial(ours, servers, two, rows, INAPP, EMAIL),
        },
        beside=runs,
    )
    result = of_rounds(found, "rows/s", runs, LIMITS)
    result.detail |= {
        "backlog": rows,
        "backlogs_of_alternatives": peers,
        "textbook_page": session.textbook.page,
        "two_channels": two_channels(found),
        "cost_per_row": await by_backlog(session, servers),
        "idle_channels": await by_idle_channels(session, servers, rows),
    }
    await servers.drop(one, two)
    return result, goals(result)


def goals(result: Result) -> list[Goal]:
    ratios = result.ratios
    return [
        at_least("textbook", ratios.get("textbook"), 3),
        at_least("xadd", ratios.get("xadd"), 0.5),
        ahead(ratios, result.alternatives),
    ]


def two_channels(found: Rounds) -> dict[str, Any]:
    """Each row goes into two streams, so entries are twice the rows."""
    rate = found.median("ours_two_channels")
    return {
        "rows_s": rate,
        "entries_s": 2 * rate,
        "ratio_to_one_channel": found.ratio("ours", over="ours_two_channels"),
    }


async def alternatives(session: Session) -> tuple[dict[str, int], dict[str, Measure]]:
    """Their backlogs, and their runs: the textbook relay with the page size that is best here, and the peers."""
    textbook = replace(session.textbook, backlog=session.pick(1_000, 50_000))
    database = await prepared(session, textbook)
    rates = {
        page: await theirs(session, replace(textbook, page=page), database)
        for page in session.pick(PAGES[:1], PAGES)
    }
    session.textbook = replace(session.textbook, page=max(rates, key=lambda page: rates[page]))
    # As much as the relay's: Redis rewrites its log once that has grown to 64 MiB, on the way of both.
    every = [replace(session.textbook, backlog=session.pick(2_000, 200_000)), *session.peers()]
    runs: dict[str, Measure] = {}
    for peer in every:
        try:
            where = database if peer.name == textbook.name else await prepared(session, peer)
        except FAILURES as error:
            session.leave_out(peer.name, error)
        else:
            runs[peer.name] = partial(theirs, session, peer, where)
    return {peer.name: peer.backlog for peer in every if peer.name in runs}, runs


async def limits_of(session: Session, servers: Servers, template: str, rows: int) -> dict[str, Measure]:
    """The limits write the very entries that the relay makes of this backlog, and read the very rows."""
    async with servers.fresh(template) as database, servers.redis() as redis:
        async with service("relay", "relay", servers=servers, database=database):
            await drained(redis, rows, INAPP)
        entries = await limits.entries_of(redis, INAPP)
        page = await limits.best_page(redis, entries)

    async def xadd() -> float:
        await servers.flush()
        async with servers.redis() as redis:
            return await limits.xadd(redis, entries, page)

    async def xadd_raw() -> float:
        await servers.flush()
        return await limits.xadd_raw(servers, entries)

    async def read() -> float:
        async with servers.fresh(template) as database:
            return await limits.read(database, rows)

    return {"xadd": xadd, "xadd_raw": xadd_raw, "read": read}


async def by_backlog(session: Session, servers: Servers) -> dict[str, float]:
    """Microseconds a row: it must not grow with the backlog."""
    sizes = session.pick([1_000], [10_000, 100_000, 1_000_000], [10_000, 100_000, 1_000_000, 10_000_000])
    templates = {rows: await filled(servers, f"backlog_{rows}", rows) for rows in sizes}
    runs = {f"ours_{rows}": partial(ours, servers, name, rows) for rows, name in templates.items()}
    found = await session.alternate(runs, rounds=session.pick(1, 3))
    await servers.drop(*templates.values())
    return {f"{rows}_rows_us": 1e6 / found.median(f"ours_{rows}") for rows in sizes}


async def by_idle_channels(session: Session, servers: Servers, rows: int) -> dict[str, float]:
    """Microseconds a row of one channel, with so many others that have had a row once: it must not grow either."""
    sizes: tuple[int, ...] = session.pick((5,), (5, 500))
    rows //= session.pick(1, 2)
    templates = {idle: await filled(servers, f"idle_{idle}", rows, idle=idle) for idle in sizes}
    runs = {f"ours_{idle}": partial(ours, servers, name, rows) for idle, name in templates.items()}
    found = await session.alternate(runs, rounds=session.pick(1, 3))
    await servers.drop(*templates.values())
    return {f"{idle}_idle_us": 1e6 / found.median(f"ours_{idle}") for idle in sizes}
