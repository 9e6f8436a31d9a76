"""`outbox up` with a Docker engine. None is needed: a program in its place writes down what it is asked."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from outbox.local import compose, env
from outbox.settings import PROJECT

DOCKER = """#!/bin/sh
echo "$(pwd) $*" >> "$ASKED"
echo "$COMPOSE_PROJECT_NAME $POSTGRES_PASSWORD" > "$ASKED.environment"
"""
FAILING = (
    DOCKER
    + """case "$*" in *" up "*) exit 1;; esac
"""
)
WAITING = (
    DOCKER
    + """case "$*" in *" logs "*) exec sleep 60;; esac
"""
)
UP = [sys.executable, "-m", "outbox.cli", "up"]


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which the false docker writes what it was asked."""
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(DOCKER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    monkeypatch.setenv("OUTBOX_STATE", str(tmp_path / "state"))
    for name in ("OUTBOX_NO_DOCKER", *compose.PORTS):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "asked"


def run(*words: str) -> str:
    command = [sys.executable, "-m", "outbox.cli", *words]
    ran = subprocess.run(command, capture_output=True, check=True, text=True, cwd="/")
    return ran.stdout


def test_compose_asks_for_nothing_that_up_does_not_make() -> None:
    wanted = set(re.findall(r"\$\{(\w+)", compose.FILE.read_text()))
    images = {name for name in wanted if name.endswith("_IMAGE")}  # a person's choice
    assert wanted - images <= set(compose.settings_of({}))


def test_passwords_are_kept() -> None:
    first = compose.settings_of({})
    assert compose.settings_of(first) == first
    assert compose.settings_of({})["POSTGRES_PASSWORD"] != first["POSTGRES_PASSWORD"]


def test_up_runs_compose_in_the_project_with_the_passwords(asked: Path, tmp_path: Path) -> None:
    said = run("up")
    assert "outbox_demo_producer" in said
    assert said.index("Outbox is ready.") < said.index("Outbox has stopped")
    run("logs", "-f", "-n", "5")
    run("down")
    passwords = tmp_path / "state" / compose.PASSWORDS_FILE
    compose_lines = [line for line in asked.read_text().splitlines() if "--env-file" in line]
    prefix = f"{PROJECT} compose --env-file {passwords} -f {compose.FILE}"
    ends = [
        f"up --build --detach --wait --wait-timeout {compose.START_SECONDS}",
        "logs --follow --tail 0",
        "--profile watch stop",
        "logs --follow --tail 5",
        "--profile watch down",
    ]
    assert compose_lines == [f"{prefix} {end}" for end in ends]
    assert passwords.stat().st_mode & 0o777 == 0o600
    assert env.read(tmp_path / "state")["DATABASE_URL"].endswith("@127.0.0.1:15432/outbox")


def test_detached_it_goes_on(asked: Path) -> None:
    assert "Outbox is ready." in run("up", "--detach")
    assert " --wait " in asked.read_text().splitlines()[-1]


def test_watched_it_says_where(asked: Path) -> None:
    said = run("up", "--watch", "--detach")
    assert "Grafana" in said
    assert " --profile watch up --build " in asked.read_text().splitlines()[-1]
    assert "Grafana" not in run("up", "--detach")


def test_without_an_engine_nothing_is_watched(asked: Path) -> None:
    ran = subprocess.run(
        [*UP, "--watch", "--no-docker"], capture_output=True, check=False, text=True, cwd="/"
    )
    assert ran.returncode == 1
    assert "--watch starts Prometheus and Grafana as containers" in ran.stderr


def test_what_does_not_start_is_stopped_and_says_where_to_look(asked: Path, tmp_path: Path) -> None:
    (tmp_path / "bin" / "docker").write_text(FAILING)
    ran = subprocess.run(UP, capture_output=True, check=False, text=True, cwd="/")
    assert ran.returncode == 1
    assert "docker compose up failed" in ran.stderr
    assert "ready" not in ran.stdout
    assert asked.read_text().splitlines()[-1].endswith(" stop")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_stack(asked: Path, tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "bin" / "docker").write_text(WAITING)
    with subprocess.Popen(UP, stdout=subprocess.PIPE, text=True, cwd="/") as process:
        assert process.stdout
        while "look inside" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(number)
        assert process.stdout.read().endswith("Outbox has stopped; the data stays.\n")
    assert process.returncode == 0
    assert asked.read_text().splitlines()[-1].endswith(" stop")


def test_a_system_of_its_own_for_each_state_directory(
    asked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTGRES_PASSWORD", "of another project")
    run("up")
    kept = env.read(tmp_path / "state", compose.PASSWORDS_FILE)
    given = asked.with_name("asked.environment").read_text().split()
    assert given == [compose.project(tmp_path / "state"), kept["POSTGRES_PASSWORD"]]
    assert compose.project(tmp_path / "state") != compose.project(tmp_path / "two")


def test_reset_deletes_the_volumes_and_the_state(asked: Path, tmp_path: Path) -> None:
    run("up")
    run("reset", "--yes")
    assert asked.read_text().splitlines()[-1].endswith("down --volumes")
    assert not (tmp_path / "state").exists()


def test_docker_is_not_used_when_told_so_or_absent(asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert compose.usable()
    monkeypatch.setenv("OUTBOX_NO_DOCKER", "1")
    assert not compose.usable()
    monkeypatch.delenv("OUTBOX_NO_DOCKER")
    monkeypatch.setenv("PATH", "/nonexistent")
    assert not compose.usable()


def test_an_engine_that_does_not_answer_is_none(asked: Path, tmp_path: Path) -> None:
    (tmp_path / "bin" / "docker").write_text("#!/bin/sh\nexit 1\n")
    assert not compose.usable()
