"""The faults that are expensive: of the servers themselves. One at a time for Postgres, one at a time for Redis."""

import asyncio
import random
from contextlib import suppress
from time import time

from bench.chaos.ground import HOST
from bench.chaos.stage import NOWHERE, Lag, Stage


async def backend_kill(stage: Stage, dice: random.Random) -> float:
    """kill -9 of one backend: Postgres drops everyone and recovers from its log."""
    backends, at = await stage.postgres.backends(), time()
    stage.postgres.crash(dice.choice(backends))
    await stage.postgres.primary.answers()
    return at


async def postgres_restart(stage: Stage, _: random.Random) -> float:
    at = time()
    await stage.postgres.primary.stop()
    await stage.postgres.primary.start()
    return at


async def postgres_kill(stage: Stage, _: random.Random) -> float:
    at = time()
    await stage.postgres.primary.kill()
    await stage.postgres.primary.start()
    return at


async def standby_kill(stage: Stage, _: random.Random) -> float:
    """Commits wait for the standby until it is back."""
    at = time()
    await stage.postgres.standby.kill()
    await stage.postgres.standby.start()
    return at


async def postgres_promote(stage: Stage, _: random.Random) -> float:
    """The primary is lost, and the standby has every commit that was answered."""
    await stage.postgres.caught_up()
    return await fail_over(stage)


async def postgres_promote_lagging(stage: Stage, dice: random.Random) -> float:
    """The primary is lost, and the standby had heard nothing for a while: it lacks what others have seen
    committed, relay and workers among them."""
    await stage.postgres.caught_up()
    since = time()
    await stage.postgres.synchronous(False)
    stage.postgres.link.swallow = True
    await asyncio.sleep(dice.uniform(0.5, 2))
    at = await fail_over(stage)
    stage.lags.append(Lag(since, stage.postgres.lost_at))
    return at


async def fail_over(stage: Stage) -> float:
    at = time()
    stage.lead("postgres", NOWHERE)
    await stage.postgres.promote()
    stage.lead("postgres", (HOST, stage.postgres.primary.port))
    stage.cut("postgres")  # what was just being connected led to the old one
    await stage.postgres.build_standby()
    return at


async def redis_restart(stage: Stage, _: random.Random) -> float:
    at = time()
    await redis_down(stage, gently=True)
    await redis_up(stage)
    return at


async def redis_kill(stage: Stage, _: random.Random) -> float:
    at = time()
    await redis_down(stage)
    await redis_up(stage)
    return at


async def redis_lose_tail(stage: Stage, dice: random.Random) -> float:
    """kill -9, and the last bytes of the append-only file never reached the disk."""
    at = time()
    await redis_down(stage)
    stage.redis.primary.cut_tail(round(10 ** dice.uniform(0, 5)))
    await redis_up(stage)
    return at


async def redis_down(stage: Stage, *, gently: bool = False) -> None:
    """The roads are shut first, so that nobody is on the new server before its watcher."""
    stage.lead("redis", NOWHERE)
    stage.watch.may_end = True
    await (stage.redis.primary.stop() if gently else stage.redis.primary.kill())
    stage.cut("redis")


async def redis_up(stage: Stage) -> None:
    node = stage.redis.primary
    await node.start()
    await stage.watch.attach(node)
    stage.lead("redis", (HOST, node.port))


async def replica_kill(stage: Stage, _: random.Random) -> float:
    at = time()
    await stage.redis.replica.kill()
    await stage.redis.replica.start()
    await stage.redis.follow()
    return at


async def redis_promote(stage: Stage, dice: random.Random) -> float:
    """A replica that has heard nothing for a while takes over; the old primary follows it."""
    await stage.redis.synced()
    stage.redis.link.swallow = True
    await asyncio.sleep(dice.uniform(0.2, 1.5))
    at = time()
    stage.lead("redis", NOWHERE)
    stage.cut("redis")
    await stage.watch.drain()
    await stage.redis.promote()
    await stage.watch.attach(stage.redis.primary)
    stage.cut("redis")  # what was just being connected led to the old one
    stage.lead("redis", (HOST, stage.redis.primary.port))
    await stage.redis.follow()
    return at


async def maxmemory(stage: Stage, dice: random.Random) -> float:
    """Redis refuses every write for want of memory."""
    async with stage.redis.primary.client() as redis:
        at = time()
        await redis.config_set("maxmemory", "1mb")
        await asyncio.sleep(dice.uniform(0.3, 1.5))
        await redis.config_set("maxmemory", "0")
    return at


async def disk_full(stage: Stage, dice: random.Random) -> float:
    """No byte is free where the append-only file lies; Redis refuses every write. Once there is room the file is
    written anew, as an operator should: Valkey 9.1 may leave one behind that it cannot read at its next start."""
    at = time()
    ballast = await asyncio.to_thread(stage.redis.primary.fill_disk)
    await asyncio.sleep(dice.uniform(0.3, 1.5))
    with suppress(FileNotFoundError):
        ballast.unlink()
    await stage.redis.primary.rewrite_log()
    return at
