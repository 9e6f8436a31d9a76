"""The units: systemd itself reads them, judges how much they may do, and finds the program that they start."""

import configparser
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from outbox.local.ports import any_free
from outbox.settings import Settings
from tests.deploy.helm import ROOT
from tests.deploy.manifests import refuse_unknown_command, settings_names

UNITS = ROOT / "deploy" / "systemd"
COMMON = UNITS / "outbox-.service.d" / "10-common.conf"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
INSTANCES = {"api": "8080", "gateway": "8081", "relay": "9101", "worker": "email"}
# Of 10: what systemd says of a service without any rule is 9.6.
EXPOSURE = 2.0


def instance(unit: str) -> str:
    found = re.fullmatch(r"outbox-(\w+)@\.service", unit)
    return unit.replace("@.", f"@{INSTANCES[found[1]]}.") if found else unit


def read(unit: str) -> configparser.SectionProxy:
    """What a unit says of its service, the common part below it."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their capitals
    parser.read([COMMON, UNITS / unit])
    return parser["Service"]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with the units where an operator puts them, and something that can be started."""
    root = tmp_path_factory.mktemp("root")
    shutil.copytree(UNITS, root / "etc/systemd/system")
    (root / "etc/outbox").mkdir()
    (root / "etc/outbox/outbox.env").touch()
    program = root / "opt/outbox/bin/outbox"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    system = root / "usr/lib/systemd/system"
    system.mkdir(parents=True)
    for target in ("sysinit", "basic", "shutdown", "network-online", "multi-user"):
        (system / f"{target}.target").write_text(f"[Unit]\nDescription={target}\n")
    return root


def analyze(root: Path, *words: str) -> str:
    ran = subprocess.run(
        ["systemd-analyze", f"--root={root}", *words], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


@pytest.mark.parametrize("unit", [*SERVICES, "outbox.target"])
def test_systemd_finds_nothing_wrong(machine: Path, unit: str) -> None:
    said = analyze(machine, "verify", "--man=no", str(machine / "etc/systemd/system" / instance(unit)))
    ours = [line for line in said.splitlines() if "outbox" in line and "is dropped" not in line]
    assert ours == []


@pytest.mark.parametrize("unit", SERVICES)
def test_systemd_judges_them_well_confined(machine: Path, unit: str) -> None:
    """The rules of outbox-.service.d reach every one of them."""
    said = analyze(machine, "security", "--offline=yes", instance(unit))
    found = re.search(r"exposure level for .*: ([\d.]+)", said)
    assert found, said
    assert float(found[1]) < EXPOSURE


@pytest.mark.parametrize("unit", SERVICES)
def test_what_is_started_is_a_command_of_ours(unit: str) -> None:
    program, *words = read(unit)["ExecStart"].replace("$OUTBOX_CHANNELS", "email push").split()
    assert program == "/opt/outbox/bin/outbox"
    refuse_unknown_command(words)


@pytest.mark.parametrize("unit", SERVICES)
def test_a_variable_is_one_that_somebody_reads(unit: str) -> None:
    text = (UNITS / unit).read_text() + COMMON.read_text()
    named = set(re.findall(r"\b(OUTBOX_[A-Z_]+)", text))
    assert named <= settings_names() | {"OUTBOX_STATE", "OUTBOX_CHANNELS"}


@pytest.mark.parametrize("unit", [unit for unit in SERVICES if "@" in unit])
def test_times_are_longer_than_those_of_the_settings(unit: str) -> None:
    service, fields = read(unit), Settings.model_fields
    assert float(service["TimeoutStopSec"]) > fields["shutdown_grace"].default + 10
    assert float(service["TimeoutStartSec"]) > fields["start_patience"].default + 10
    assert service["Restart"] == "always"


@pytest.fixture
def notices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    name = f"@outbox-unit-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name.replace("@", "\0"))
        listening.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        monkeypatch.setenv("OUTBOX_STATE", str(tmp_path))
        yield listening


@pytest.mark.parametrize("command", ["api", "gateway", "relay", "worker"])
def test_a_process_says_when_it_is_ready_and_when_it_stops(
    command: str, notices: socket.socket, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Type=notify would wait for it for ever."""
    monkeypatch.setenv("WATCHDOG_USEC", "60000000")
    env = os.environ | {
        "DATABASE_URL": settings.database,
        "REDIS_URL": settings.redis,
        "OUTBOX_JWT_SECRET": settings.jwt_secret.get_secret_value(),
        "OUTBOX_ENV": "development",
        f"OUTBOX_{command.upper()}_PORT": str(any_free()),
    }
    words = [sys.executable, "-m", "outbox.cli", command]
    with subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            assert notices.recv(100) == b"WATCHDOG=1"
            assert notices.recv(100) == b"READY=1"
        finally:
            process.terminate()
        assert notices.recv(100) == b"STOPPING=1"
        process.communicate(timeout=60)
    assert process.returncode == 0
