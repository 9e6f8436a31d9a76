"""The processes of a run: servers of its own, relays, workers and a mail sink, each of which may be killed."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from db import migrations
from outbox.local.servers import Embedded

OUTBOX = [sys.executable, "-m", "outbox.cli"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(slots=True)
class Stage:
    """Servers in a folder of their own, and the service's processes on them by name."""

    folder: Path
    lease_seconds: float = 1.5
    servers: Embedded = field(init=False)
    smtp_port: int = field(default_factory=free_port)
    mail_port: int = field(default_factory=free_port)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def open(self) -> None:
        self.servers = Embedded(self.folder / "state")
        self.servers.start()
        migrations.upgrade(self.servers.migrate_url)

    def close(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(20)
        self.servers.stop()

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "OUTBOX_STATE": str(self.folder / "none"),
            "DATABASE_URL": self.servers.database_url,
            "REDIS_URL": self.servers.redis_url,
            "OUTBOX_JWT_SECRET": "a-secret-of-the-fire-run-of-32-bytes",
            "OUTBOX_ENV": "development",
            "OUTBOX_LOG": "json",
            "OUTBOX_LOG_LEVEL": "info",
            "OUTBOX_RELAY_PORT": "0",
            "OUTBOX_WORKER_PORT": "0",
            "OUTBOX_RELAY_LEASE": str(self.lease_seconds),
            "OUTBOX_WORKER_LEASE": "10",
            "SMTP_URL": f"smtp://127.0.0.1:{self.smtp_port}?tls=none",
        }

    def start(self, name: str, *command: str) -> None:
        """Start or start again. Logs are appended to a file of the process's name."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*OUTBOX, *command], env=self.environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def start_mail(self) -> None:
        ports = ("--smtp-port", str(self.smtp_port), "--web-port", str(self.mail_port))
        self.start("mail", "mailsink", *ports, "--folder", str(self.folder / "mail"))

    def start_all(self) -> None:
        self.start_mail()
        for name, command in COMMANDS.items():
            self.start(name, *command)

    def end(self, name: str) -> None:
        """kill -9."""
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes[name].wait()

    def kill(self, name: str) -> None:
        """kill -9, and start it again: what an orchestrator would do."""
        self.end(name)
        self.start(name, *COMMANDS[name])

    def restart_servers(self) -> None:
        """Postgres and Redis down and up again, on the same ports."""
        self.servers.stop()
        self.servers.start()

    async def pause(self, name: str, seconds: float) -> None:
        """SIGSTOP for a while: the process wakes late, believing that no time has passed."""
        process = self.processes[name]
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        process.send_signal(signal.SIGCONT)


COMMANDS = {
    "relay-a": ("relay",),
    "relay-b": ("relay",),
    "worker-inapp": ("worker", "inapp"),
    "worker-email": ("worker", "email"),
}
