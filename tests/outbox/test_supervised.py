"""What systemd would hear: on a socket of the test's own, as systemd names one."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from outbox import service, supervised
from outbox.service import Stop


@pytest.fixture(params=["path", "abstract"])
def heard(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    name = f"{os.path.relpath(tmp_path)}/notify" if request.param == "path" else f"@outbox-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name.replace("@", "\0"))
        listening.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield listening


def test_a_notice_arrives(heard: socket.socket) -> None:
    supervised.tell(supervised.READY)
    assert heard.recv(100) == b"READY=1"


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    supervised.tell(supervised.READY)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "none"))
    supervised.tell(supervised.READY)


@pytest.mark.parametrize(
    ("microseconds", "pid", "seconds"),
    [
        ("30000000", None, 15.0),
        ("30000000", "ours", 15.0),
        ("30000000", "1", None),
        ("", None, None),
        ("soon", None, None),
        (None, None, None),
    ],
)
def test_signs_of_life_are_wanted_of_this_process(
    monkeypatch: pytest.MonkeyPatch, microseconds: str | None, pid: str | None, seconds: float | None
) -> None:
    wanted = {"WATCHDOG_USEC": microseconds, "WATCHDOG_PID": str(os.getpid()) if pid == "ours" else pid}
    for name, value in wanted.items():
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert supervised.watchdog() == seconds


async def test_a_process_lives_stops_and_falls_silent(
    heard: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)

    async def main(stop: Stop) -> None:
        for _ in range(3):
            assert await asyncio.to_thread(heard.recv, 100) == b"WATCHDOG=1"
        os.kill(os.getpid(), 15)
        await stop.asked.wait()
        while await asyncio.to_thread(heard.recv, 100) != b"STOPPING=1":
            pass

    await service.run(main, grace=5)
    assert not [
        task for task in asyncio.all_tasks() if task is not asyncio.current_task() and not task.cancelling()
    ]
