"""The stage of a run: servers, services, and a proxy on every road between them."""

import asyncio
import os
import random
import signal
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from bench.chaos.ground import HOST, SUPERUSER, Ground, free_port
from bench.chaos.kin import Kin
from bench.chaos.postgres import Pair as Postgres
from bench.chaos.proxy import Proxy
from bench.chaos.valkey import Pair as Valkey
from bench.chaos.watch import Watch
from db import migrations
from db.pool import OUTAGES
from outbox.local.roles import DATABASE, LOGINS, MIGRATOR, PRODUCER, SERVICE, set_up_roles

SCHEMA = Path(__file__).with_name("schema.sql")
NOWHERE = (HOST, 1)  # refuses everybody
RELAY = "outbox_relay"  # a login of its own: its clock can be set
RELAYS = ("relay-a", "relay-b", "relay-c")
WORKERS = ("worker-inapp", "worker-email")
SERVICES: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: ("relay", {}) for name in RELAYS},
    "worker-inapp": ("worker", {"channels": ["inapp"]}),
    "worker-email": ("worker", {"channels": ["email"]}),
    "api": ("api", {}),
}
LEASE_SECONDS = 1.5
WORKER_LEASE_SECONDS = 6
PRODUCERS = "producers"
SECRET = "a-secret-of-the-chaos-run-of-32-bytes-or-more"


@dataclass(frozen=True, slots=True)
class Lag:
    """A standby was made primary that had got nothing since `since`. What was committed from then on may be lost,
    and Postgres lost it."""

    since: float  # Unix seconds
    until: float


@dataclass(slots=True)
class Stage:
    """Everything that may be hurt, by name."""

    folder: Path
    kin: Kin
    postgres: Postgres = field(init=False)
    redis: Valkey = field(init=False)
    watch: Watch = field(default_factory=Watch)
    proxies: dict[str, Proxy] = field(default_factory=dict)  # "relay-a.redis": its road to Redis
    pids: dict[str, int] = field(default_factory=dict)
    smtp_port: int = field(default_factory=free_port)
    web_port: int = field(default_factory=free_port)
    api_port: int = field(default_factory=free_port)
    busy: set[str] = field(default_factory=set)  # being killed and started by a fault
    fallen: list[str] = field(default_factory=list)  # services that ended by themselves
    lags: list[Lag] = field(default_factory=list)

    async def open(self) -> None:
        ground = Ground.make(self.folder, self.kin)
        for name in ("postgres.link", "redis.link"):
            await self.add_proxy(name, NOWHERE)
        self.postgres = Postgres(ground, self.proxies["postgres.link"])
        self.redis = Valkey(ground, self.proxies["redis.link"])
        await self.postgres.open()
        await self.redis.open()
        await self.prepare_database()
        for name in (*SERVICES, PRODUCERS):
            await self.add_proxy(f"{name}.postgres", (HOST, self.postgres.primary.port))
            await self.add_proxy(f"{name}.redis", (HOST, self.redis.primary.port))
        await self.add_proxy("worker-email.smtp", (HOST, self.smtp_port))
        await self.add_proxy("api.http", (HOST, self.api_port))
        await self.watch.attach(self.redis.primary)

    async def prepare_database(self) -> None:
        """Roles, schema, recipients, and the relay's clock: its clock_timestamp() is not everybody's."""
        ground, port = self.postgres.ground, self.postgres.primary.port
        passwords = {name: ground.password(name) for name in (SUPERUSER, *LOGINS)}
        await asyncio.to_thread(set_up_roles, port, passwords)
        await asyncio.to_thread(migrations.upgrade, self.url(MIGRATOR, port))
        async with self.postgres.primary.connection() as connection:
            await connection.execute(SCHEMA.read_text())
            await connection.execute(f"ALTER ROLE {RELAY} PASSWORD '{ground.password(RELAY)}'")

    async def add_proxy(self, name: str, target: tuple[str, int]) -> None:
        proxy = self.proxies[name] = Proxy(*target)
        await proxy.start()

    async def close(self) -> None:
        self.watch.may_end = True
        await self.kin.close()
        for proxy in self.proxies.values():
            await proxy.stop()
        self.redis.close()

    def url(self, role: str, port: int) -> str:
        return f"postgresql://{role}:{self.postgres.ground.password(role)}@{HOST}:{port}/{DATABASE}"

    @property
    def producer_url(self) -> str:
        return self.url(PRODUCER, self.proxies[f"{PRODUCERS}.postgres"].port)

    def environment(self, name: str) -> dict[str, str]:
        role = RELAY if name in RELAYS else SERVICE
        redis = urlsplit(self.redis.primary.url)
        road = f":{self.redis.ground.password('redis')}@{HOST}:{self.proxies[f'{name}.redis'].port}"
        return {
            "OUTBOX_STATE": str(self.folder / "none"),
            "DATABASE_URL": self.url(role, self.proxies[f"{name}.postgres"].port),
            "REDIS_URL": urlunsplit(redis._replace(netloc=road)),
            "OUTBOX_JWT_SECRET": SECRET,
            "OUTBOX_ENV": "development",
            "OUTBOX_LOG": "json",
            "OUTBOX_API_PORT": str(self.api_port),
            "OUTBOX_RELAY_PORT": "0",
            "OUTBOX_WORKER_PORT": "0",
            "OUTBOX_RELAY_LEASE": str(LEASE_SECONDS),
            "OUTBOX_WORKER_LEASE": str(WORKER_LEASE_SECONDS),
            "OUTBOX_RETRY_CAP": "5",
            "OUTBOX_START_PATIENCE": "300",
            "SMTP_URL": f"smtp://{HOST}:{self.proxies['worker-email.smtp'].port}?tls=none",
        }

    async def start(self, name: str) -> None:
        """Start or start again. Logs are appended to a file of the process's name."""
        log = str(self.folder / f"{name}.log")
        if name == "mail":
            options = {"smtp_port": self.smtp_port, "web_port": self.web_port, "folder": None}
            order = {"service": "mailsink", "options": options | {"mode": "json", "host": HOST}}
            env = {"OUTBOX_STATE": str(self.folder)}
        else:
            service, options = SERVICES[name]
            order, env = {"service": service, "options": options}, self.environment(name)
        self.pids[name] = await self.kin.start(**order, env=env, log=log)

    async def start_all(self) -> None:
        for name in ("mail", *SERVICES):
            await self.start(name)

    async def kill(self, name: str, pause: float = 0) -> None:
        """kill -9, and start it again: what an orchestrator would do."""
        self.busy.add(name)
        await self.kin.end_tree(self.pids[name])
        await asyncio.sleep(pause)
        await self.start(name)
        self.busy.discard(name)

    async def supervise(self) -> None:
        """Start again what ended by itself, and remember it: a service should not."""
        while True:
            for name, pid in list(self.pids.items()):
                if name not in self.busy and not self.kin.lives(pid):
                    self.fallen.append(name)
                    await self.start(name)
            await asyncio.sleep(0.2)

    def resume_all(self) -> None:
        for pid in self.pids.values():
            if self.kin.lives(pid):
                os.kill(pid, signal.SIGCONT)

    def roads(self, to: str) -> Iterable[Proxy]:
        return (proxy for name, proxy in self.proxies.items() if name.endswith(f".{to}"))

    def lead(self, to: str, target: tuple[str, int]) -> None:
        """Where all roads to Postgres, or to Redis, lead from now on."""
        for proxy in self.roads(to):
            proxy.target = target

    def cut(self, to: str) -> None:
        for proxy in self.roads(to):
            proxy.cut()

    async def leader(self) -> str:
        """The relay that holds the lease; failing that, any."""
        holder = ""
        with suppress(*OUTAGES):
            async with self.postgres.primary.connection() as connection:
                holder = await connection.fetchval("SELECT holder FROM notify.relay_lease") or ""
        led = [name for name in RELAYS if f"-{self.pids[name]}-" in holder]
        return random.choice(led or RELAYS)
