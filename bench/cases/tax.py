"""What the wake-up costs producers: 32 clients, one row a transaction, with the trigger and without it."""

from contextlib import AsyncExitStack
from functools import partial

from bench.drains import INAPP
from bench.load import CLIENTS, Load, pgbench
from bench.peers import PAYLOAD_SQL
from bench.processes import service
from bench.run import Goal, Result, Rounds, at_least
from bench.servers import Database, Servers
from bench.session import Session

ABSENT = "ALTER TABLE notify.outbox DISABLE TRIGGER outbox_wake"
AWAKE = "SELECT setval('notify.relay_flag', 2)"
# What one writes who knows NOTIFY and not its price: the same function, called with every statement.
PLAIN = f"""{ABSENT};
CREATE TRIGGER plain_notify AFTER INSERT ON notify.outbox
  FOR EACH STATEMENT EXECUTE FUNCTION notify.wake_relay()"""
TRIGGERS = {"in_place": "SELECT 1", "absent": ABSENT, "plain_notify": PLAIN}
BARE_TABLE = """CREATE TABLE bare (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, event_type text NOT NULL, user_id text NOT NULL,
  payload jsonb NOT NULL, created_at timestamptz NOT NULL DEFAULT clock_timestamp())"""
BARE_ROW = f"'bench.order', 'user' || i % 1000, {PAYLOAD_SQL}"


async def measure(session: Session) -> tuple[Result, list[Goal]]:
    servers = await session.servers()
    load = Load(session.pick(1, 5), session.pick(4, CLIENTS))
    shares: list[float] = []
    runs = {name: partial(inserts, servers, sql, load) for name, sql in TRIGGERS.items()}
    draining = {
        f"{name}_draining": partial(inserts_draining, servers, sql, load, shares)
        for name, sql in TRIGGERS.items()
    }
    found = await session.alternate({**runs, **draining, "insert": partial(bare, servers, load)})
    return result_of(found, shares)


def result_of(found: Rounds, shares: list[float]) -> tuple[Result, list[Goal]]:
    """`bare` and `bare_draining` compare like with like: the same setting without the trigger."""
    ratios = {
        "bare": found.ratio("absent", over="in_place"),
        "bare_draining": found.ratio("absent_draining", over="in_place_draining"),
        "plain_notify": found.ratio("plain_notify", over="in_place"),
        "plain_notify_draining": found.ratio("plain_notify_draining", over="in_place_draining"),
        "draining_to_not_draining": found.ratio("absent", over="in_place_draining"),
        "insert": found.ratio("insert", over="in_place"),
    }
    result = Result(
        figure=found.median("in_place"),
        unit="inserts/s",
        runs=len(found.values["in_place"]),
        alternatives=found.medians(["plain_notify", "plain_notify_draining"]),
        limits=found.medians(["absent", "absent_draining", "insert"]),
        ratios=ratios,
        detail={
            "min_max": found.spread(),
            "in_place_draining": found.median("in_place_draining"),
            "plain_notify_to_absent": found.ratio("absent", over="plain_notify"),
            "plain_notify_to_absent_draining": found.ratio("absent_draining", over="plain_notify_draining"),
            "relayed_while_inserting": min(shares),
        },
    )
    return result, [
        at_least("bare", ratios["bare"], 0.95),
        at_least("bare_draining", ratios["bare_draining"], 0.8),
    ]


async def arranged(servers: Servers, database: Database, sql: str) -> None:
    async with servers.admin(database.name) as conn:
        await conn.execute(AWAKE)
        await conn.execute(sql)


async def inserts(servers: Servers, sql: str, load: Load) -> float:
    """The relay is awake, as far as producers can see; none is at work."""
    async with servers.fresh() as database:
        await arranged(servers, database, sql)
        return (await pgbench(servers, database, load)).rate


async def inserts_draining(servers: Servers, sql: str, load: Load, shares: list[float]) -> float:
    """A relay takes the rows away meanwhile, on the same cores. `shares`: how much of them it had at the end.
    It polls often, because without the trigger nothing tells it that the load has begun."""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(servers.fresh())
        redis = await stack.enter_async_context(servers.redis())
        await arranged(servers, database, sql)
        relay = await stack.enter_async_context(
            service("relay", "relay", servers=servers, database=database, OUTBOX_RELAY_POLL="0.1")
        )
        await relay.ready()
        committed = await pgbench(servers, database, load)
        shares.append(await redis.xlen(INAPP) / committed.rows)
        return committed.rate


async def bare(servers: Servers, load: Load) -> float:
    """The limit: the same row into a table with nothing but a key."""
    async with servers.fresh() as database:
        async with servers.admin(database.name) as conn:
            await conn.execute(BARE_TABLE)
            await conn.execute("GRANT INSERT ON bare TO PUBLIC")
        committed = await pgbench(
            servers, database, load, into="bare (event_type, user_id, payload)", row=BARE_ROW
        )
        return committed.rate
