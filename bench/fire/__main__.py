"""`python -m bench.fire`: kill -9 the relay 50 times and FLUSHALL 5 times during 20,000 notifications, then audit."""

import argparse
import asyncio
import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic

import asyncpg
import httpx
from redis.asyncio import Redis
from rich.console import Console
from rich.progress import Progress

from bench.fire.stage import Stage
from bench.fire.watch import Watch

OUT = Path(__file__).parent.parent / "out"
USERS = 200
WRITERS = 4
INSERT = (
    "INSERT INTO notify.outbox (event_type, user_id, channels, payload)"
    " VALUES ('fire.order', $1, '{inapp,email}',"
    " jsonb_build_object('title', $2::text, 'writer', $3::int, 'n', $4::int))"
)
console = Console()


@dataclass(slots=True)
class Result:
    """The audit. Everything that is missing, twice, uncommitted or out of order must be zero."""

    committed: int = 0
    inbox: int = 0
    mails: int = 0
    mails_distinct: int = 0
    faults: int = 0
    by_kind: dict[str, int] = field(default_factory=dict)
    seconds: float = 0
    missing_in_stream: int = 0
    missing_in_inbox: int = 0
    missing_in_mail: int = 0
    twice_in_stream: int = 0
    # Sent again because a worker died before it could write down that it had sent: the timeline says so.
    mails_again_as_told: int = 0
    twice_in_mail: int = 0
    uncommitted: int = 0
    out_of_order: int = 0

    @property
    def holds(self) -> bool:
        names = [name for name in asdict(self) if name.startswith(("missing", "twice", "uncommitted", "out"))]
        return not any(getattr(self, name) for name in names)


@dataclass(slots=True)
class Run:
    """One run: what is asked, and what has happened so far."""

    stage: Stage
    rows: int
    faults: list[str]
    committed: set[str] = field(default_factory=set)
    by_kind: Counter[str] = field(default_factory=Counter)

    async def write(self, writer: int) -> None:
        """Commit a share of the rows, one transaction each; a fifth of all transactions is rolled back, and a
        tenth undoes a savepoint on the way."""
        connection = await asyncpg.connect(self.stage.servers.producer_url)
        for number in range(self.rows // WRITERS):
            if random.random() < 0.25:
                transaction = connection.transaction()
                await transaction.start()
                await self.insert(connection, writer, -1)
                await transaction.rollback()
            async with connection.transaction():
                if random.random() < 0.1:
                    savepoint = connection.transaction()
                    await savepoint.start()
                    await self.insert(connection, writer, -1)
                    await savepoint.rollback()
                await self.insert(connection, writer, number)
            self.committed.add(f"{writer}:{number}")
            await asyncio.sleep(random.uniform(0, 0.012))
        await connection.close()

    async def insert(
        self, connection: "asyncpg.Connection[asyncpg.Record]", writer: int, number: int
    ) -> None:
        await connection.execute(
            INSERT, f"user{random.randrange(USERS)}", f"{writer}:{number}", writer, number
        )

    async def strike(self) -> None:
        """The faults, spread evenly over the rows."""
        redis = Redis.from_url(self.stage.servers.redis_url)
        for number, kind in enumerate(self.faults, 1):
            due = self.rows * number / (len(self.faults) + 1)
            while len(self.committed) < due:  # noqa: ASYNC110 - a count that writers raise
                await asyncio.sleep(0.005)
            await asyncio.sleep(random.uniform(0, 0.02))
            await self.fault(kind, redis)
            self.by_kind[kind] += 1
        await redis.aclose()

    async def fault(self, kind: str, redis: "Redis") -> None:
        if kind == "flush":
            await redis.flushall()
        elif kind == "pause":
            await self.stage.pause(await self.leader(), 2 * self.stage.lease_seconds)
        elif kind == "relay":
            self.stage.kill(await self.leader())
        else:
            self.stage.kill(kind)

    async def leader(self) -> str:
        """The relay that holds the lease; failing that, any."""
        connection = await asyncpg.connect(self.stage.servers.database_url)
        holder = await connection.fetchval("SELECT holder FROM notify.relay_lease") or ""
        await connection.close()
        relays = [name for name in self.stage.processes if name.startswith("relay")]
        led = [name for name in relays if f"-{self.stage.processes[name].pid}-" in holder]
        return random.choice(led or relays)


async def settled(run: Run, seconds: float) -> None:
    """Wait until everything has arrived, or nothing has for a while."""
    connection = await asyncpg.connect(run.stage.servers.database_url)
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("delivered", total=2 * run.rows)
        last, moved_at = -1, monotonic()
        while last < 2 * run.rows and monotonic() - moved_at < seconds:
            done = await connection.fetchval(
                "SELECT count(*) FROM notify.deliveries WHERE status = 'delivered'"
            )
            if done != last:
                last, moved_at = done, monotonic()
            progress.update(bar, completed=done)
            await asyncio.sleep(0.3)
    await connection.close()


async def audit(run: Run, watch: Watch) -> Result:
    """From outside: the database's own rows, the mails that came, the commands that Redis ran."""
    connection = await asyncpg.connect(run.stage.servers.database_url)
    wanted = await connection.fetch("SELECT id::text, payload->>'title' AS title FROM notify.notifications")
    inbox = await connection.fetch(
        "SELECT i.notification_id::text AS id, i.user_id, i.seq, n.payload->>'writer' AS writer,"
        " (n.payload->>'n')::int AS n FROM notify.inbox i JOIN notify.notifications n ON n.id = i.notification_id"
    )
    taken_over = await connection.fetch(
        "SELECT notification_id::text AS id FROM notify.delivery_events"
        " WHERE channel = 'email' AND event = 'taken_over'"
    )
    await connection.close()
    mails = await mailed(run.stage)
    again = [notification_of(mail) for mail, count in Counter(mails).items() for _ in range(count - 1)]
    told = {record["id"] for record in taken_over}
    ids = {record["id"] for record in wanted}
    titles = {record["title"] for record in wanted}
    return Result(
        committed=len(run.committed),
        inbox=len(inbox),
        mails=len(mails),
        mails_distinct=len(set(mails)),
        faults=run.by_kind.total(),
        by_kind=dict(run.by_kind),
        missing_in_stream=sum(
            len(ids - watch.notifications(f"notifications.{channel}")) for channel in ("inapp", "email")
        ),
        missing_in_inbox=len(ids - {record["id"] for record in inbox}),
        missing_in_mail=len(ids - set(map(notification_of, mails))),
        twice_in_stream=watch.twice,
        mails_again_as_told=sum(each in told for each in again),
        twice_in_mail=sum(each not in told for each in again),
        uncommitted=len(titles ^ run.committed),
        out_of_order=watch.out_of_order,
    )


def notification_of(message_id: str) -> str:
    return message_id.removeprefix("<").partition(".email@")[0]


async def mailed(stage: Stage) -> list[str]:
    """The Message-ID of every mail that the sink took."""
    found: list[str] = []
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{stage.mail_port}", timeout=60) as client:
        after = 0
        while page := (await client.get("/api/messages", params={"limit": 1000, "after": after})).json()[
            "messages"
        ]:
            found += [mail["message_id"] for mail in page]
            after = max(mail["id"] for mail in page)
    return found


async def fire(run: Run) -> Result:
    connection = await asyncpg.connect(run.stage.servers.migrate_url)
    await connection.execute(
        "INSERT INTO notify.recipients (user_id, email)"
        f" SELECT 'user' || i, 'user' || i || '@example.com' FROM generate_series(0, {USERS - 1}) i"
    )
    await connection.close()
    watch, ready = Watch(run.stage.servers.redis_url), asyncio.Event()
    watching = asyncio.create_task(watch.run(ready))
    await ready.wait()
    began_at = monotonic()
    run.stage.start_all()
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("committed", total=run.rows)
        work = [asyncio.create_task(run.write(writer)) for writer in range(WRITERS)]
        work.append(asyncio.create_task(run.strike()))
        while not all(task.done() for task in work) and not watching.done():
            progress.update(
                bar, completed=len(run.committed), description=f"committed, {run.by_kind.total()} faults"
            )
            await asyncio.sleep(0.2)
        await asyncio.gather(*work)
    await settled(run, 60)
    result = await audit(run, watch)
    result.seconds = round(monotonic() - began_at, 1)
    if watching.done():
        await watching  # the reader itself failed: the run proves nothing
    watching.cancel()
    return result


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.fire", description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000, help="notifications, each by in-app and e-mail")
    parser.add_argument("--kills", type=int, default=50, help="kill -9 of the leading relay")
    parser.add_argument("--flushes", type=int, default=5, help="FLUSHALL")
    parser.add_argument("--pauses", type=int, default=0, help="SIGSTOP of the leading relay beyond its lease")
    parser.add_argument(
        "--worker-kills", type=int, default=0, help="kill -9 of a worker (its mails under way come again)"
    )
    parser.add_argument("--keep", type=Path, help="a folder for logs and data; a throwaway one if not given")
    return parser.parse_args()


def main() -> int:
    asked = arguments()
    faults = ["relay"] * asked.kills + ["flush"] * asked.flushes + ["pause"] * asked.pauses
    faults += [random.choice(["worker-inapp", "worker-email"]) for _ in range(asked.worker_kills)]
    random.shuffle(faults)
    folder = asked.keep or Path(tempfile.mkdtemp(prefix="outbox-fire-"))
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    run = Run(Stage(folder), asked.rows // WRITERS * WRITERS, faults)
    run.stage.open()
    try:
        result = asyncio.run(fire(run))
    finally:
        run.stage.close()
        if not asked.keep:
            shutil.rmtree(folder, ignore_errors=True)
    OUT.mkdir(exist_ok=True)
    (OUT / "fire.json").write_text(json.dumps(asdict(result), indent=2) + "\n")
    console.print_json(json.dumps(asdict(result)))
    console.print("[green]every promise held[/]" if result.holds else "[red]a promise was broken[/]")
    return 0 if result.holds else 1


if __name__ == "__main__":
    sys.exit(main())
