"""The faults that are cheap: of processes, connections, single backends, keys in Redis, and the clock."""

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import time

from redis.exceptions import ResponseError

from bench.chaos.proxy import Proxy
from bench.chaos.stage import LEASE_SECONDS, RELAYS, WORKERS, Stage
from outbox.streams import GROUP

# Gives the moment at which it struck, in Unix seconds.
Fault = Callable[[Stage, random.Random], Awaitable[float]]

STREAMS = [f"notifications.{channel}" for channel in ("inapp", "inapp.urgent", "inapp.bulk", "email")]
# The last entries of a stream go, its end goes back, and the group forgets, as where a disk has lost them all. Made
# anew, because XSETID sets no end back behind what was deleted. Allowed at maxmemory, too: refused halfway it would
# only have deleted entries, which is another fault.
LOSE_TAIL = """#!lua flags=allow-oom
local stream = KEYS[1]
local lost = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', ARGV[1])
if #lost == 0 then return redis.error_reply('ERR nothing to lose') end
local first = lost[#lost][1]
local kept = redis.call('XRANGE', stream, '-', '(' .. first)
redis.call('DEL', stream)
redis.call('XGROUP', 'CREATE', stream, 'nobody', '0', 'MKSTREAM')
redis.call('XGROUP', 'DESTROY', stream, 'nobody')
for _, entry in ipairs(kept) do redis.call('XADD', stream, entry[1], unpack(entry[2])) end
local ms, row = string.match(first, '(%d+)-(%d+)')
redis.call('XSETID', stream, ms .. '-' .. string.format('%d', tonumber(row) - 1))
return #lost
"""


async def relay_kill(stage: Stage, dice: random.Random) -> float:
    """kill -9: the leader as a rule, a standby at times."""
    return await kill(stage, await relay(stage, dice))


async def relay_stop(stage: Stage, dice: random.Random) -> float:
    """SIGSTOP, for longer than the lease at times: it wakes up believing that no time has passed."""
    return await freeze(stage, await relay(stage, dice), dice.uniform(0.05, 2 * LEASE_SECONDS))


async def relay(stage: Stage, dice: random.Random) -> str:
    return await stage.leader() if dice.random() < 0.7 else dice.choice(RELAYS)


async def worker_kill(stage: Stage, dice: random.Random) -> float:
    return await kill(stage, dice.choice(WORKERS))


async def worker_stop(stage: Stage, dice: random.Random) -> float:
    """SIGSTOP, beyond the lease of what it holds at times."""
    return await freeze(stage, dice.choice(WORKERS), dice.choice([0.2, 0.5, 1, 2, 7]))


async def kill(stage: Stage, name: str) -> float:
    at = time()
    await stage.kill(name)
    return at


async def freeze(stage: Stage, name: str, seconds: float) -> float:
    pid, at = stage.pids[name], time()
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(seconds)
    if stage.kin.lives(pid):  # or killed meanwhile
        os.kill(pid, signal.SIGCONT)
    return at


async def api_kill(stage: Stage, _: random.Random) -> float:
    return await kill(stage, "api")


async def mail_kill(stage: Stage, dice: random.Random) -> float:
    """The mail server away for a moment."""
    at = time()
    await stage.kill("mail", dice.uniform(0, 2))
    return at


def road(stage: Stage, dice: random.Random) -> Proxy:
    """One that is in use. Raises IndexError where none is."""
    used = [name for name, proxy in stage.proxies.items() if proxy.links and not name.endswith(".link")]
    return stage.proxies[dice.choice(used)]


async def cut(stage: Stage, dice: random.Random) -> float:
    """RST to both sides, on one road."""
    road(stage, dice).cut()
    return time()


async def delay(stage: Stage, dice: random.Random) -> float:
    """Each packet late, both ways, on one road."""
    proxy = road(stage, dice)
    at, proxy.delay_seconds = time(), dice.uniform(0.005, 0.15)
    await asyncio.sleep(dice.uniform(0.3, 2))
    proxy.delay_seconds = 0
    return at


async def swallow(stage: Stage, dice: random.Random) -> float:
    """Packets dropped without a word on one road; its connections are dead and do not know it."""
    proxy = road(stage, dice)
    at, proxy.swallow = time(), True
    await asyncio.sleep(dice.uniform(0.3, 2))
    proxy.swallow = False
    return at


async def terminate_backend(stage: Stage, dice: random.Random) -> float:
    backend = dice.choice(await stage.postgres.backends())
    async with stage.postgres.primary.connection() as connection:
        await connection.fetchval("SELECT pg_terminate_backend($1)", backend)
    return time()


async def client_kill(stage: Stage, dice: random.Random) -> float:
    """CLIENT KILL of one service's connection to Redis, or of all."""
    far_ends = [end for proxy in stage.roads("redis") for link in proxy.links for end in link.ends[1:]]
    addresses = ["{}:{}".format(*end.get_extra_info("sockname")) for end in far_ends]
    async with stage.redis.primary.client() as redis:
        for address in addresses if dice.random() < 0.2 else dice.sample(addresses, min(1, len(addresses))):
            with suppress(ResponseError):  # it has just gone by itself
                await redis.client_kill(address)
    return time()


async def clock(stage: Stage, dice: random.Random) -> float:
    """The relay's clock leaps, minutes or hours ahead or back, and later returns."""
    at = time()
    await set_clock(stage, dice.choice([-1, 1]) * round(10 ** dice.uniform(0, 4)))
    await asyncio.sleep(dice.uniform(0.1, 3))
    await set_clock(stage, 0)
    return at


async def set_clock(stage: Stage, seconds: int) -> None:
    async with stage.postgres.primary.connection() as connection:
        await connection.execute("SELECT setval('chaos.shift', $1)", seconds)


async def flush(stage: Stage, _: random.Random) -> float:
    async with stage.redis.primary.client() as redis:
        await redis.flushall()
    return time()


async def delete_stream(stage: Stage, dice: random.Random) -> float:
    async with stage.redis.primary.client() as redis:
        for stream in dice.sample(STREAMS, len(STREAMS)):
            if await redis.delete(stream):
                return time()
    raise IndexError("there is no stream")


async def lose_tail(stage: Stage, dice: random.Random) -> float:
    """The last entries of one stream are gone, and Redis does not know that they ever were. The workers leave little
    to lose, so it may take a while."""
    async with stage.redis.primary.client() as redis:
        for _ in range(100):
            for stream in dice.sample(STREAMS, len(STREAMS)):
                with suppress(ResponseError):  # nothing in it to lose
                    await redis.eval(LOSE_TAIL, 1, stream, dice.randint(1, 50))
                    return time()
            await asyncio.sleep(0.02)
    raise IndexError("every stream is empty")


async def delete_group(stage: Stage, dice: random.Random) -> float:
    """The workers' group goes, and with it who had what."""
    async with stage.redis.primary.client() as redis:
        for stream in dice.sample(STREAMS, len(STREAMS)):
            with suppress(ResponseError):  # no such stream
                if await redis.xgroup_destroy(stream, GROUP):
                    return time()
    raise IndexError("there is no group")
