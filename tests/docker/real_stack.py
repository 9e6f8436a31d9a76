"""`outbox up` from a fresh clone: everything healthy, every channel delivers, nothing has rights without need."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from outbox.local import compose
from outbox.local.ports import any_free
from tests.docker.conftest import run

pytestmark = pytest.mark.timeout(2400)
CHANNELS = ("inapp", "email", "sms", "push", "webhook")


class Stack:
    def __init__(self, folder: Path, state: Path) -> None:
        self.folder, self.state = folder, state
        used: set[int] = set()
        for _ in compose.PORTS:
            used.add(any_free(used))
        ports = dict(zip(compose.PORTS, map(str, used), strict=True))
        self.environment = ports | {"OUTBOX_STATE": str(state), "PYTHONPATH": str(folder)}

    def outbox(self, *words: str) -> str:
        return run(sys.executable, "-m", "outbox.cli", *words, cwd=self.folder, env=self.environment).stdout

    def containers(self) -> dict[str, Any]:
        """What the engine knows of each, by service."""
        label = f"com.docker.compose.project={compose.project(self.state)}"
        ids = run("docker", "ps", "--all", "--quiet", "--filter", f"label={label}").stdout.split()
        known = json.loads(run("docker", "inspect", *ids).stdout)
        return {each["Config"]["Labels"]["com.docker.compose.service"]: each for each in known}

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.environment[f'OUTBOX_{name}_PORT']}"


@pytest.fixture(scope="module")
def stack(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = Stack(clone, tmp_path_factory.mktemp("state"))
    try:
        made.outbox("up", "--detach")
        yield made
    finally:
        run(sys.executable, "-m", "outbox.cli", "reset", "--yes", env=made.environment, check=False)


def test_every_container_is_healthy_and_the_job_is_done(stack: Stack) -> None:
    states = {name: each["State"] for name, each in stack.containers().items()}
    migrate = states.pop("migrate")
    assert (migrate["Status"], migrate["ExitCode"]) == ("exited", 0)
    assert {name: each["Health"]["Status"] for name, each in states.items()} == dict.fromkeys(
        states, "healthy"
    )
    assert len(states) == 17


def test_ours_are_nobody_and_write_nowhere(stack: Stack) -> None:
    for name, each in stack.containers().items():
        if name in {"postgres", "redis"}:
            continue
        assert each["Config"]["User"] not in {"", "root", "0"}, name
        assert each["HostConfig"]["ReadonlyRootfs"], name
        assert each["HostConfig"]["CapDrop"] == ["ALL"], name


def test_a_notification_arrives_by_every_channel(stack: Stack) -> None:
    chosen = [word for channel in CHANNELS for word in ("-c", channel)]
    said = stack.outbox("send", "--user", "alice", "--title", "From a container", *chosen)
    for channel in CHANNELS:
        assert channel in said
    assert said.count("delivered") >= len(CHANNELS), said


def test_one_address_serves_all_and_shows_no_figures(stack: Stack) -> None:
    for port in ("API", "GATEWAY"):
        with httpx.Client(base_url=stack.url(port), trust_env=False) as client:
            assert client.get("/docs").status_code == 200  # an API's
            assert "<outbox-inbox" in client.get("/").text  # a gateway's
            assert client.get("/v1/client/outbox-inbox.js").status_code == 200
            assert client.get("/metrics").status_code == 404
            assert client.get("/v1/notifications").status_code == 401


def test_up_again_changes_nothing_and_down_leaves_nothing_running(stack: Stack) -> None:
    before = {name: each["Id"] for name, each in stack.containers().items() if name != "migrate"}
    stack.outbox("up", "--detach")
    after = {name: each["Id"] for name, each in stack.containers().items() if name != "migrate"}
    assert after == before
    stack.outbox("down")
    label = f"com.docker.compose.project={compose.project(stack.state)}"
    assert not run("docker", "ps", "--all", "--quiet", "--filter", f"label={label}").stdout
    assert os.listdir(stack.state)  # noqa: PTH208 - passwords stay, as the volumes do
