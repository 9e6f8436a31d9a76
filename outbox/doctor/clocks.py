"""Three clocks that should agree: this machine's, Postgres' and Redis'."""

from collections.abc import Iterator
from dataclasses import dataclass
from time import time

from db import doctor as sql
from outbox.doctor.desk import Area, Check, Desk
from outbox.doctor.finding import Finding, fail, ok, warn
from outbox.doctor.words import span

WARN_SECONDS, FAIL_SECONDS = 1.0, 30.0
ADVICE = "let every machine follow NTP: timedatectl set-ntp true, then chronyc tracking"


@dataclass(frozen=True, slots=True)
class Ahead:
    """By how many seconds a server's clock is ahead of this machine's."""

    server: str
    seconds: float


async def of_postgres(desk: Desk) -> Ahead:
    async with desk.pool.acquire() as conn:
        began = time()
        theirs = await sql.clock(conn)
        return Ahead("PostgreSQL", theirs - (began + time()) / 2)


async def of_redis(desk: Desk) -> Ahead:
    async with desk.nodes.at(desk.settings.keys.stream("inapp")) as redis:
        await redis.ping()  # a connection, before the time is taken
        began = time()
        seconds, micros = await redis.time()
        return Ahead("Redis", seconds + micros / 1e6 - (began + time()) / 2)


def judge(ahead: Ahead) -> Iterator[Finding]:
    check = f"clock.{'postgres' if ahead.server == 'PostgreSQL' else 'redis'}"
    if abs(ahead.seconds) < WARN_SECONDS:
        yield ok(check, f"{ahead.server}'s clock agrees ({span(ahead.seconds)} apart)")
        return
    how = "ahead of" if ahead.seconds > 0 else "behind"
    what = f"{ahead.server}'s clock is {span(abs(ahead.seconds))} {how} this machine's"
    make = fail if abs(ahead.seconds) >= FAIL_SECONDS else warn
    yield make(check, f"{what}: leases, tokens and times of delivery are off by as much", ADVICE)


AREA = Area(
    "clocks",
    frozenset({"postgres", "redis"}),
    (Check("clock.postgres", of_postgres, judge), Check("clock.redis", of_redis, judge)),
)
