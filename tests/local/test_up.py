"""`outbox up` as a person meets it: a process, its ports, and what is left when it ends, whichever way."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path

import httpx
import pytest

from outbox.local import env, up_lock
from outbox.local.env import LocalError
from outbox.local.ports import any_free

pytestmark = pytest.mark.timeout(600)

OUTBOX = [sys.executable, "-m", "outbox.cli"]
DEADLINE_SECONDS = 120
# The settings of the test run must not reach the system under test.
FOREIGN = ("DATABASE_URL", "REDIS_URL", "SMTP_URL", "TWILIO_ACCOUNT_SID", "FCM_CREDENTIALS", "APNS_KEY")
CHANNELS = ("inapp", "email", "sms", "push", "webhook")
PROCESSES = ("mailsink", "doubles", "relay", "worker", "gateway", "api")


class System:
    """One state directory, and the `outbox up` in it."""

    def __init__(self, state: Path) -> None:
        self.state = state
        kept = {
            name: value for name, value in os.environ.items() if name not in FOREIGN and "OUTBOX" not in name
        }
        # Each test has its own ports: another `outbox up` on this machine would make it choose others.
        ports = {name: str(any_free()) for name in env.PORTS}
        self.environment = kept | ports | {"OUTBOX_STATE": str(state), "OUTBOX_NO_DOCKER": "1"}
        self.process: subprocess.Popen[bytes] | None = None

    def port(self, name: str) -> int:
        return int(self.environment[f"OUTBOX_{name}_PORT"])

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*OUTBOX, *words],
            env=self.environment,
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def start(self) -> int:
        """Its pid, once everything is ready."""
        with (self.state.parent / "screen").open("ab") as screen:
            self.process = subprocess.Popen(
                [*OUTBOX, "up"],
                env=self.environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=screen,
                stderr=screen,
            )
        self.wait_for("readiness", lambda: self.phase() == "ready" or self.ended())
        assert not self.ended(), self.screen()
        return self.process.pid

    def ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def screen(self) -> str:
        return (self.state.parent / "screen").read_text(errors="replace")

    def phase(self) -> str | None:
        word = up_lock.running(self.state)
        return word.phase if word else None

    def wait_for(self, what: str, reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not reached():
            assert time.monotonic() < deadline, f"no {what} in {DEADLINE_SECONDS} s\n{self.screen()[-4000:]}"
            time.sleep(0.05)

    def ready(self, name: str) -> bool:
        try:
            return httpx.get(
                f"http://127.0.0.1:{self.port(name)}/readyz", trust_env=False, timeout=10
            ).is_success
        except httpx.TransportError:
            return False

    def mails(self) -> int:
        url = f"http://127.0.0.1:{self.port('MAIL')}/api/messages/count"
        return int(httpx.get(url, trust_env=False).json()["distinct"])

    def received(self) -> dict[str, int]:
        """How many messages each double took."""
        url = f"http://127.0.0.1:{self.port('PROVIDERS')}/api/providers"
        listed = httpx.get(url, trust_env=False).json()["providers"]
        return {each["name"]: each["total"] for each in listed}

    def descendants(self) -> dict[int, str]:
        """Every process below `outbox up`, the servers' own included, by pid."""
        assert self.process is not None
        found = processes()
        below = {self.process.pid}
        while more := {pid for pid, (parent, _) in found.items() if parent in below} - below:
            below |= more
        return {pid: found[pid][1] for pid in below - {self.process.pid}}

    def pid_of(self, name: str) -> int | None:
        return next(
            (pid for pid, args in self.descendants().items() if args.endswith(f"--parent-pipe {name}")), None
        )

    def all_gone(self, pids: Mapping[int, str]) -> bool:
        found = processes()
        return not any(pid in found and found[pid][1] == args for pid, args in pids.items())


def processes() -> dict[int, tuple[int, str]]:
    """pid → parent and command line, of all that are no zombies."""
    listed = subprocess.run(
        ["ps", "-axww", "-o", "pid=,ppid=,stat=,args="], capture_output=True, text=True, check=True
    )
    rows = (line.split(None, 3) for line in listed.stdout.splitlines())
    return {
        int(row[0]): (int(row[1]), row[3]) for row in rows if len(row) == 4 and not row[2].startswith("Z")
    }


@pytest.fixture
def system() -> Iterator[System]:
    around = Path(tempfile.mkdtemp(prefix="outbox-up-"))
    around.chmod(0o755)  # an unprivileged PostgreSQL must get in when the tests run as root
    made = System(around / "state")
    try:
        yield made
    finally:
        reset = made.run("reset", "--yes")
        if made.process:
            made.process.kill()
            made.process.wait()
        assert reset.returncode == 0, reset.stderr
        assert not made.state.exists()
        shutil.rmtree(around)


def test_a_whole_life(system: System) -> None:
    """Ready, a notification arrives; a second `up` is told; one killed is restarted; SIGTERM ends it; data stays."""
    pid = system.start()
    for name in ("API", "GATEWAY", "RELAY", "WORKER", "MAIL", "PROVIDERS"):
        assert system.ready(name)
    private = (system.state / "local.env").stat().st_mode & 0o777
    assert private == 0o600

    sent = system.run("send", "-u", "alice", "--title", "Hello", *(f"--channel={name}" for name in CHANNELS))
    assert sent.returncode == 0, sent.stdout + sent.stderr
    assert system.mails() == 1
    assert system.received() == {"twilio": 1, "sendgrid": 0, "fcm": 1, "apns": 1, "webhook": 1}

    second = system.run("up")
    assert second.returncode == 1
    assert f"process {pid}, ready" in second.stderr
    assert f"http://127.0.0.1:{system.port('API')}" in second.stderr

    relay = system.pid_of("relay")
    assert relay is not None
    os.kill(relay, signal.SIGKILL)
    system.wait_for(
        "new relay", lambda: system.pid_of("relay") not in {None, relay} and system.ready("RELAY")
    )
    assert "relay was killed by SIGKILL; starting it again" in system.screen()

    below = system.descendants()
    assert system.process is not None
    system.process.send_signal(signal.SIGTERM)
    assert system.process.wait(DEADLINE_SECONDS) == 0, system.screen()
    assert system.all_gone(below)
    assert "relay was killed" in system.run("logs", "-n", "500").stdout

    secrets = env.read(system.state)
    system.start()
    assert env.read(system.state) == secrets
    assert system.mails() == 1
    status = json.loads(system.run("status", "--json").stdout)
    assert status["deliveries"] == {channel: {"delivered": 1} for channel in CHANNELS}
    down = system.run("down")
    assert "stopped" in down.stdout
    assert system.process.wait(DEADLINE_SECONDS) == 0
    assert "not running" in system.run("down").stdout


def test_whatever_is_killed_it_comes_back(system: System) -> None:
    """`up` by itself: nobody is left behind. Everything at once: it starts again over what was cut short, with the
    ports still held by those about to die. A server: it is started again."""
    system.start()
    below = system.descendants()
    assert sum("--parent-pipe" in args for args in below.values()) == len(PROCESSES)
    assert system.process is not None
    system.process.kill()
    system.process.wait()
    system.wait_for("end of the orphans", lambda: system.all_gone(below))
    system.start()
    sent = system.run("send", "--user", "alice", "--title", "Hello")
    assert sent.returncode == 0, sent.stdout + sent.stderr
    kill_everything(system)
    system.start()
    for name in ("API", "GATEWAY", "RELAY", "WORKER", "MAIL", "PROVIDERS"):
        assert system.ready(name)
    kill_postgres(system)
    system.wait_for("word of it", lambda: "died; starting them again" in system.screen())
    system.wait_for("recovery", lambda: system.run("send", "--user", "alice", "--title", "x").returncode == 0)


def kill_everything(system: System) -> None:
    assert system.process is not None
    below = system.descendants()
    for pid in (system.process.pid, *below):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    system.process.wait()


def kill_postgres(system: System) -> None:
    below = system.descendants()
    postgres = [pid for pid, args in below.items() if "bin/postgres -D" in args]
    assert len(postgres) == 1, f"{below}\n{system.screen()}"
    os.kill(postgres[0], signal.SIGKILL)


def test_detached_and_down(system: System) -> None:
    up = system.run("up", "--detach")
    assert up.returncode == 0, up.stderr
    assert "Outbox is ready." in up.stdout
    assert "outbox send --user alice" in up.stdout
    assert system.ready("API")
    assert system.run("down").returncode == 0
    assert not system.ready("API")


def test_a_taken_port_that_was_asked_for_is_named(system: System) -> None:
    with closing(socket.create_server(("127.0.0.1", system.port("API")))):
        up = system.run("up")
    assert up.returncode == 1
    assert f"OUTBOX_API_PORT={system.port('API')}: another program listens there" in up.stderr
    assert up_lock.running(system.state) is None


@pytest.fixture
def no_ports_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in env.PORTS:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_ports_given")
def test_ports_are_remembered_while_free_and_left_when_taken() -> None:
    kept = {name: str(any_free()) for name in env.PORTS}
    assert env.choose_ports(kept) == {name: int(port) for name, port in kept.items()}
    taken = int(kept["OUTBOX_API_PORT"])
    with closing(socket.create_server(("127.0.0.1", taken))):
        assert env.taken(kept) == ["OUTBOX_API_PORT"]
        chosen = env.choose_ports(kept)
    assert chosen["OUTBOX_API_PORT"] != taken
    assert len(set(chosen.values())) == len(env.PORTS)


def test_a_port_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTBOX_SMTP_PORT", "smtp")
    with pytest.raises(LocalError, match="OUTBOX_SMTP_PORT='smtp'"):
        env.choose_ports({})


def test_the_env_file_gives_back_what_was_written(tmp_path: Path) -> None:
    values = {"A": "plain", "B": "smtp://127.0.0.1:1025?tls=none", "C": 'two $HOME # and "more"'}
    env.write(tmp_path, values)
    assert env.read(tmp_path) == values
    sourced = subprocess.run(
        ["/bin/sh", "-c", '. ./local.env; printf %s "$C"'],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert sourced.stdout == values["C"]


def test_a_value_that_no_reader_would_read_alike_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="DATABASE_URL"):
        env.write(tmp_path, {"DATABASE_URL": "postgresql://someone:it's@db/shop"})


def test_the_lock_tells_a_clean_end_from_a_crash(tmp_path: Path) -> None:
    with up_lock.held(tmp_path) as lock:
        assert not lock.after_crash
        lock.say("ready", "banner")
        assert up_lock.running(tmp_path) == up_lock.Word(os.getpid(), "ready", "banner")
        with pytest.raises(up_lock.AlreadyRunningError, match="banner"), up_lock.held(tmp_path):
            pass
    assert up_lock.running(tmp_path) is None
    (tmp_path / up_lock.FILE).write_text('{"pid": 1, "phase": "ready", "banner": ""}')
    assert up_lock.running(tmp_path) is None
    with up_lock.held(tmp_path) as lock:
        assert lock.after_crash
