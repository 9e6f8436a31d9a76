"""Backlogs drained: by the relay, and by any alternative, measured in the same way."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.load import fill
from bench.measure import drained
from bench.peers import Peer
from bench.processes import Running, environment, running, service
from bench.servers import Database, Servers
from bench.session import Session

INAPP, EMAIL = "notifications.inapp", "notifications.email"


async def ours(servers: Servers, template: str, rows: int, *streams: str) -> float:
    """Rows a second of a relay that comes upon a backlog, in a copy of `template`."""
    async with (
        servers.fresh(template) as database,
        servers.redis() as redis,
        service("relay", "relay", servers=servers, database=database),
    ):
        return await drained(redis, rows, *(streams or (INAPP,)))


async def ours_more(servers: Servers, database: Database, done: int, rows: int) -> float:
    """The same for rows that come on top of `done` earlier ones, which went through and were consumed."""
    async with servers.admin(database.name) as conn:
        await fill(conn, rows, first=done + 1)
        await conn.execute("ANALYZE notify.outbox")
    await servers.checkpoint()
    async with servers.redis() as redis:
        async with service("relay", "relay", servers=servers, database=database):
            rate = await drained(redis, rows, INAPP)
        await redis.xtrim(INAPP, maxlen=0, approximate=False)
    return rate


async def prepared(session: Session, peer: Peer) -> Database:
    """The alternative's own database, with its tables."""
    servers = await session.servers_of(peer)
    database = await servers.create(f"peer_{peer.name.replace('-', '_')}")
    await peer.prepare(database.owner, database.admin)
    return database


@asynccontextmanager
async def consumer(servers: Servers, database: Database, peer: Peer) -> AsyncIterator[Running]:
    """The alternative's process, not necessarily ready yet."""
    env = environment(servers, database, DATABASE_URL=database.owner, STREAM=stream_of(peer))
    async with running(peer.command(env), env, servers.folder / f"{peer.name}.log") as process:
        yield process


def stream_of(peer: Peer) -> str:
    return f"bench.{peer.name}"


async def theirs(session: Session, peer: Peer, database: Database) -> float:
    """Rows a second of an alternative that comes upon its backlog. What earlier runs left is vacuumed first."""
    servers = await session.servers_of(peer)
    await servers.flush()
    await peer.fill(database.owner, peer.backlog)
    async with servers.admin(database.name) as conn:
        await conn.execute("VACUUM ANALYZE")
    await servers.checkpoint()
    return await drained_by(servers, peer, database)


async def drained_by(servers: Servers, peer: Peer, database: Database) -> float:
    async with servers.redis() as redis, consumer(servers, database, peer) as process:
        rate = await drained(redis, peer.backlog, stream_of(peer))
        process.check()
        return rate
