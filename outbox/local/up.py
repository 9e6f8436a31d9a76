"""`outbox up` without a Docker engine: servers, schema, processes, banner; and back down in order.

Safe to kill at any point: the servers and the processes notice and end, the data stays, and the
next `up` finds everything as it was.
"""

import asyncio
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from outbox.local import env, sandbox, up_lock
from outbox.local.env import LocalError
from outbox.local.errors import EmbeddedError
from outbox.local.ports import LOOPBACK
from outbox.local.processes import Processes, Program
from outbox.local.servers import Embedded
from outbox.local.up_banner import banner
from outbox.local.up_lines import Lines, paint
from outbox.service import Stop, wait
from outbox.settings import Settings

MAIL = "mail"
PROVIDERS = "providers"
STOP_ORDER = (
    ("api",),
    ("relay", "worker", "gateway"),
    (MAIL, PROVIDERS),
)  # nothing comes in, then nothing goes out
LOOK_SECONDS = 0.1
ORPHAN_SECONDS = 6.0
PATIENCE_SECONDS = 15.0  # until a line says who is still starting


def run(state: Path) -> None:
    """Returns when it was told to stop. Raises LocalError or EmbeddedError, with nothing left running."""
    state.mkdir(parents=True, exist_ok=True)
    with up_lock.held(state) as lock:
        lines = Lines(state)
        try:
            asyncio.run(Up(state, lock, lines).run())
        finally:
            lines.close()


class Up:
    """One run of `outbox up`."""

    def __init__(self, state: Path, lock: up_lock.Lock, lines: Lines) -> None:
        self.state = state
        self.lock = lock
        self.lines = lines
        self.stop = Stop()
        self.fatal: EmbeddedError | None = None
        self.processes = Processes({}, lines)
        self.servers = Embedded(
            state, database_url=env.given("DATABASE_URL"), redis_url=env.given("REDIS_URL")
        )

    def say(self, line: str) -> None:
        self.lines.say("outbox", line)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.on_signal)
        try:
            await self.start_servers()
            await self.live()
        finally:
            with self.timed("stopping the servers …", "stopped; the data stays"):
                await asyncio.to_thread(self.servers.stop)

    def on_signal(self) -> None:
        if self.stop:
            self.say("once more: killing the processes")
            self.processes.kill()
            return
        self.lock.say("stopping")
        self.stop.ask()

    async def start_servers(self) -> None:
        for name, url in (("DATABASE_URL", self.servers.database_url), ("REDIS_URL", self.servers.redis_url)):
            if url:
                self.say(f"using {name} from the environment: {url.rpartition('@')[2]}")
        if self.servers.alive():
            return
        with self.timed("starting PostgreSQL and Redis …", "both answer"):
            await asyncio.to_thread(self.servers.start)
        for server in self.servers.info.values():
            self.say(f"{described(server.exe.name)} {server.major} is on {LOOPBACK}:{server.port}")

    async def live(self) -> None:
        """From running servers to stopped processes."""
        kept = env.read(self.state)
        if self.lock.after_crash:
            await self.wait_for_orphans(kept)
        ports = env.choose_ports(kept)
        values = env.settings_of(self.urls(), ports, kept) | sandbox.settings(self.state, ports)
        env.write(self.state, values)
        self.processes.environment = environment(self.state, values)
        if not self.stop:
            await self.migrate(values)
        if self.stop:
            return
        settings = Settings.load()
        programs = our_programs(settings, values)
        async with asyncio.TaskGroup() as tasks:
            for program in programs:
                tasks.create_task(self.processes.keep(program))
            tasks.create_task(self.watch_servers())
            try:
                await self.announce(programs, settings, values)
                await self.stop.asked.wait()
            finally:
                await self.end(settings.shutdown_grace)
        if self.fatal:
            raise self.fatal

    def urls(self) -> dict[str, str]:
        migrate = env.given("OUTBOX_MIGRATE_DATABASE_URL") or self.servers.migrate_url
        return {
            "DATABASE_URL": self.servers.database_url,
            "OUTBOX_MIGRATE_DATABASE_URL": migrate,
            "REDIS_URL": self.servers.redis_url,
        }

    async def wait_for_orphans(self, kept: Mapping[str, str]) -> None:
        """The processes of a killed `up` end by themselves, and give back the ports that people know."""
        deadline = time.monotonic() + ORPHAN_SECONDS
        while env.taken(kept) and time.monotonic() < deadline:
            await wait(self.stop.asked, LOOK_SECONDS)

    async def migrate(self, values: Mapping[str, str]) -> None:
        doubled = [f"--double={channel}" for channel in sandbox.doubled(values)]
        with self.timed("bringing the schema up to date …", "the schema is as it should be"):
            code = await self.processes.run(Program("migrate", ("migrate", "--with-demo", *doubled)))
        if code and not self.stop:
            raise LocalError("the schema could not be brought up to date; the lines above say why")

    async def announce(self, programs: list[Program], settings: Settings, values: Mapping[str, str]) -> None:
        names = ", ".join(program.name for program in programs)
        with self.timed(f"starting {names} …", "all are ready"):
            await self.wait_ready(programs)
        if self.stop:
            return
        text = banner(settings, values, self.servers)
        self.lock.say("ready", text)
        self.lines.show(text)

    async def wait_ready(self, programs: list[Program]) -> None:
        """Until every process answers at /readyz; says who does not, now and then."""
        waiting = {
            program.name: f"http://{LOOPBACK}:{program.port}/readyz" for program in programs if program.port
        }
        nagged = time.monotonic()
        async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
            while waiting and not self.stop:
                answers = {name: await unready(client, url) for name, url in waiting.items()}
                waiting = {name: waiting[name] for name, why in answers.items() if why}
                if waiting and time.monotonic() - nagged > PATIENCE_SECONDS:
                    nagged = time.monotonic()
                    self.say("; ".join(f"{name} is not ready: {answers[name]}" for name in waiting))
                await wait(self.stop.asked, LOOK_SECONDS if waiting else 0)

    async def watch_servers(self) -> None:
        """Starts the servers again, should one die. The processes find them at the same addresses."""
        while not await wait(self.stop.asked, 0.5):
            if self.servers.alive():
                continue
            self.say(paint("PostgreSQL or Redis died; starting them again", "1;31"))
            try:
                await asyncio.to_thread(self.servers.start)
            except EmbeddedError as error:
                self.fatal = error
                self.stop.ask()

    async def end(self, grace: float) -> None:
        with self.timed("stopping the processes …", "they have stopped"):
            for names in STOP_ORDER:
                await self.processes.end(names, grace + 2)

    @contextmanager
    def timed(self, what: str, then: str) -> Iterator[None]:
        """Say what begins, and what is so when it has come to its end; nothing where it was broken off."""
        self.say(what)
        began = time.monotonic()
        before = bool(self.stop)
        yield
        if bool(self.stop) == before:
            self.say(f"{then} ({time.monotonic() - began:.1f} s)")


def our_programs(settings: Settings, values: Mapping[str, str]) -> list[Program]:
    mail_port = values["OUTBOX_MAIL_PORT"]
    sink = ("mailsink", "--smtp-port", values["OUTBOX_SMTP_PORT"], "--web-port", mail_port)
    return [
        Program(MAIL, sink, int(mail_port)),
        Program(PROVIDERS, ("doubles",), int(values["OUTBOX_PROVIDERS_PORT"])),
        Program("relay", ("relay",), settings.relay_port),
        Program("worker", ("worker",), settings.worker_port),
        Program("gateway", ("gateway",), settings.gateway_port),
        Program("api", ("api",), settings.api_port),
    ]


def environment(state: Path, values: Mapping[str, str]) -> dict[str, str]:
    """Of the processes: what is in the file, the person's own wins over it, and logs that a person can read."""
    own = {name: value for name, value in os.environ.items() if value or name not in values}
    return {"OUTBOX_LOG": "console", "PYTHONUNBUFFERED": "1", **values, **own, "OUTBOX_STATE": str(state)}


async def unready(client: httpx.AsyncClient, url: str) -> str | None:
    """None when ready, otherwise why not."""
    try:
        answer = await client.get(url)
    except httpx.HTTPError:
        return "no answer yet"
    if answer.is_success:
        return None
    checks = answer.json().get("checks", {}) if "json" in answer.headers.get("content-type", "") else {}
    return ", ".join(f"{name}: {why}" for name, why in checks.items() if why != "ok") or str(
        answer.status_code
    )


def described(program: str) -> str:
    return {"postgres": "PostgreSQL", "valkey-server": "Valkey", "redis-server": "Redis"}.get(
        program, program
    )
