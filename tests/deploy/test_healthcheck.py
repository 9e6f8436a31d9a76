"""deploy/healthcheck.py, which runs in the image without any of our packages."""

import asyncio
import importlib.util
import socket
import subprocess
import sys
from contextlib import closing
from types import ModuleType

import pytest

from outbox.local.ports import any_free
from outbox.probes import Health, serve_probes
from outbox.service import Stop
from outbox.settings import PROJECT

FILE = PROJECT / "deploy" / "healthcheck.py"
INIT = ["/sbin/docker-init", "--", "/opt/outbox/bin/python3", "/opt/outbox/bin/outbox"]


@pytest.fixture(scope="module")
def healthcheck() -> ModuleType:
    spec = importlib.util.spec_from_file_location("healthcheck", FILE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("words", "port"),
    [
        ([*INIT, "api", ""], 8080),
        ([*INIT, "worker", "email", ""], 9102),
        ([*INIT[2:], "gateway", ""], 8081),
        ([*INIT, "migrate", "--with-demo", ""], 0),
        (["outbox"], 0),
        (["sh", "-c", "relay"], 0),
    ],
)
def test_the_command_line_tells_the_port(healthcheck: ModuleType, words: list[str], port: int) -> None:
    assert healthcheck.port_of(words) == port


def test_a_port_that_was_set_wins(healthcheck: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTBOX_WORKER_PORT", "7000")
    assert healthcheck.port_of([*INIT, "worker"]) == 7000
    monkeypatch.setenv("OUTBOX_WORKER_PORT", "0")
    assert healthcheck.port_of([*INIT, "worker"]) == 0, "no probes were wanted"


async def answering(port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return


@pytest.mark.parametrize(("trouble", "code"), [(None, 0), ("no leader", 1)])
async def test_it_is_healthy_when_it_is_ready(
    healthcheck: ModuleType, capsys: pytest.CaptureFixture[str], trouble: str | None, code: int
) -> None:
    health = Health()
    health.add("relay", lambda: trouble)
    stop, port = Stop(), any_free()
    serving = asyncio.create_task(serve_probes(health, "127.0.0.1", port, stop))
    try:
        await answering(port)
        assert await asyncio.to_thread(healthcheck.check, port) == code
    finally:
        stop.ask()
        await serving
    assert ("no leader" in capsys.readouterr().out) == bool(trouble)


def test_nobody_there_is_unhealthy(healthcheck: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(socket.socket()) as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        assert healthcheck.check(port) == 1
    assert f"no answer on port {port}" in capsys.readouterr().out


def test_it_needs_nothing_but_the_standard_library() -> None:
    """In this container process 1 is no `outbox`, and so there is nothing to ask."""
    ran = subprocess.run([sys.executable, "-I", "-S", str(FILE)], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
