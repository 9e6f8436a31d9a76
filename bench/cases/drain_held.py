"""A backlog drained while a writing transaction stays open, after a long history; beside the same without both."""

from dataclasses import replace
from functools import partial

from bench.drains import drained_by, ours, ours_more, prepared, stream_of, theirs
from bench.load import filled
from bench.peers.textbook import Textbook
from bench.run import Goal, Result, at_least, of_rounds
from bench.servers import EMPTY, Database, Servers
from bench.session import Session

HELD = "SELECT pg_current_xact_id()"  # takes a transaction id, as the first write of a transaction does


async def measure(session: Session) -> tuple[Result, list[Goal]]:
    """The transaction is open on servers of its own, so that the runs beside it do not have it."""
    free, held = await session.servers(), await session.servers("held")
    history, rows = session.pick((2_000, 1_000), (1_000_000, 100_000))
    template = await filled(free, "one_channel", rows)
    textbook = replace(session.textbook, backlog=session.pick(500, 50_000))
    beside = await prepared(session, textbook)
    log, table = await held.create("held", EMPTY), await held.create("held_textbook")
    await textbook.prepare(table.owner, table.admin)
    done = history
    async with held.admin(log.name) as in_log, held.admin(table.name) as in_table:
        for holder in (in_log, in_table):
            await holder.execute("BEGIN")
            await holder.execute(HELD)
        await relayed(held, log, history)
        await deleted(held, textbook, table, history)

        async def ours_held() -> float:
            nonlocal done
            rate = await ours_more(held, log, done, rows)
            done += rows
            return rate

        found = await session.alternate(
            {
                "ours": ours_held,
                "drain": partial(ours, free, template, rows),
                "textbook": partial(textbook_held, held, textbook, table),
                "textbook_free": partial(theirs, session, textbook, beside),
            }
        )
    result = of_rounds(found, "rows/s", ["textbook"], [])
    result.ratios["drain"] = found.ratio("drain")
    result.detail |= {
        "history": history,
        "backlog": rows,
        "backlog_of_textbook": textbook.backlog,
        "drain": found.median("drain"),
        "textbook_free": found.median("textbook_free"),
        "textbook_held_to_free": found.ratio("textbook_free", over="textbook"),
    }
    await free.drop(template)
    await held.drop(log.name, table.name)
    return result, [at_least("drain", result.ratios["drain"], 0.9)]


async def relayed(servers: Servers, database: Database, rows: int) -> None:
    """The history: so many rows through the relay, and out of the stream again."""
    await ours_more(servers, database, 0, rows)


async def deleted(servers: Servers, textbook: Textbook, database: Database, rows: int) -> None:
    """The textbook's history. One DELETE leaves what its own many would: as many dead rows that no vacuum may
    remove."""
    await textbook.fill(database.owner, rows)
    async with servers.admin(database.name) as conn:
        await conn.execute("DELETE FROM outbox")
        await conn.execute("VACUUM ANALYZE")


async def textbook_held(servers: Servers, textbook: Textbook, database: Database) -> float:
    async with servers.redis() as redis:
        await redis.delete(stream_of(textbook))
    await textbook.fill(database.owner, textbook.backlog)
    async with servers.admin(database.name) as conn:
        await conn.execute("VACUUM ANALYZE")
    await servers.checkpoint()
    return await drained_by(servers, textbook, database)
