"""`outbox up` with a Docker engine: the compose stack of the project, with passwords made on this machine."""

import hashlib
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from outbox.local import env, up_lock
from outbox.local.binaries import find_postgres, find_psql
from outbox.local.env import LocalError
from outbox.local.errors import EmbeddedError
from outbox.local.ports import LOOPBACK
from outbox.local.servers import Embedded
from outbox.local.up_banner import banner
from outbox.local.up_banner import command as command_of_ours
from outbox.local.up_logs import put
from outbox.settings import PROJECT, Settings

FILE = PROJECT / "compose.yml"
PASSWORDS_FILE = (
    "compose.env"  # kept apart from local.env: the volumes outlive a turn with the embedded servers
)
PASSWORDS = (
    "POSTGRES_PASSWORD",
    "MIGRATOR_PASSWORD",
    "SERVICE_PASSWORD",
    "PRODUCER_PASSWORD",
    "REDIS_PASSWORD",
    "GRAFANA_PASSWORD",
)
SERVED = (
    "OUTBOX_API_PORT",
    "OUTBOX_GATEWAY_PORT",
    "OUTBOX_MAIL_PORT",
    "OUTBOX_SMTP_PORT",
    "OUTBOX_PROVIDERS_PORT",
)
PORTS = {
    "OUTBOX_POSTGRES_PORT": 15432,
    "OUTBOX_REDIS_PORT": 16379,
    "OUTBOX_PROMETHEUS_PORT": 9090,
    "OUTBOX_GRAFANA_PORT": 3000,
    **{name: env.PORTS[name] for name in SERVED},
}
WATCH = "watch"  # the profile of Prometheus and Grafana
ASKED = ("up", "logs", "stop", "down")
PROBE_SECONDS = 5.0
START_SECONDS = 300  # until all are healthy, once the image is built


def usable() -> bool:
    """Whether a Docker engine with compose answers, and the compose file is there (a checkout, not a wheel)."""
    if env.given("OUTBOX_NO_DOCKER") or not FILE.exists() or not shutil.which("docker"):
        return False
    return all(answers(*words) for words in (("info",), ("compose", "version")))


def started(state: Path) -> bool:
    """Whether `outbox up` has used the engine for this state directory, and still can."""
    return (state / PASSWORDS_FILE).exists() and usable()


def answers(*words: str) -> bool:
    try:
        asked = subprocess.run(  # noqa: S603 - constant words
            ["docker", *words],  # noqa: S607 - the docker on PATH is the one the person means
            check=False,
            capture_output=True,
            timeout=PROBE_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == 0


def up(state: Path, *, detach: bool, watch: bool = False) -> None:
    """Start the stack, with Prometheus and Grafana if wanted, say where it is, and follow its lines until Ctrl-C, which
    stops it; the data stays.

    Raises LocalError where it does not start; nothing is left running then.
    """
    values = prepare(state)
    if detach:
        start(state, values, watch=watch)
        return
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # a closed terminal stops it, too
        signal.signal(number, signal.default_int_handler)
    try:
        with suppress(KeyboardInterrupt):
            start(state, values, watch=watch)
            call(state, "logs", "--follow", "--tail", "0")  # or the banner would scroll away
    finally:
        call(state, "--profile", WATCH, "stop")
        put("Outbox has stopped; the data stays.\n")


def prepare(state: Path) -> dict[str, str]:
    """Write what compose.yml and the other commands ask for; what was there once is kept."""
    if word := up_lock.running(state):
        raise up_lock.AlreadyRunningError(state, word)
    state.mkdir(parents=True, exist_ok=True)
    values = settings_of({"COMPOSE_PROJECT_NAME": project(state), **env.read(state, PASSWORDS_FILE)})
    env.write(state, values, PASSWORDS_FILE)
    env.write(state, values)
    return values


def start(state: Path, values: Mapping[str, str], *, watch: bool = False) -> None:
    """Returns, with the banner printed, when every container is healthy."""
    profile = ("--profile", WATCH) if watch else ()
    try:
        call(state, *profile, "up", "--build", "--detach", "--wait", "--wait-timeout", str(START_SECONDS))
    except LocalError as error:
        raise LocalError(f"{error}; the lines above say why, or: {command_of_ours()} logs") from None
    put(banner(Settings.load(), values, servers(state, values), watched=watch) + "\n")


def servers(state: Path, values: Mapping[str, str]) -> Embedded:
    """The stack's servers as the banner wants to know them. Of given URLs, `Embedded` starts nothing."""
    port = values["OUTBOX_POSTGRES_PORT"]
    producer = f"postgresql://outbox_demo_producer:{values['PRODUCER_PASSWORD']}@{LOOPBACK}:{port}/outbox"
    known = Embedded(state, database_url=producer, redis_url=values["REDIS_URL"])
    with suppress(EmbeddedError):
        known.psql = known.psql or find_psql(find_postgres())
    return known


def project(state: Path) -> str:
    """A name for each state directory: its passwords open no other's volumes."""
    return f"outbox-{hashlib.sha256(str(state).encode()).hexdigest()[:8]}"


def settings_of(kept: Mapping[str, str]) -> dict[str, str]:
    """What compose.yml asks for, and what other `outbox` commands on this machine need."""
    ports = {name: env.given(name) or kept.get(name) or str(port) for name, port in PORTS.items()}
    passwords = {name: kept.get(name) or secrets.token_hex(24) for name in PASSWORDS}
    database = f"@{LOOPBACK}:{ports['OUTBOX_POSTGRES_PORT']}/outbox"
    redis = f"@{LOOPBACK}:{ports['OUTBOX_REDIS_PORT']}/0"
    return {
        "COMPOSE_PROJECT_NAME": kept.get("COMPOSE_PROJECT_NAME", "outbox"),
        "DATABASE_URL": f"postgresql://outbox_service:{passwords['SERVICE_PASSWORD']}{database}",
        "OUTBOX_MIGRATE_DATABASE_URL": f"postgresql://outbox_migrator:{passwords['MIGRATOR_PASSWORD']}{database}",
        "REDIS_URL": f"redis://:{passwords['REDIS_PASSWORD']}{redis}",
        "OUTBOX_ENV": "development",
        "OUTBOX_JWT_SECRET": env.token_secret(kept),
        **passwords,
        **ports,
    }


def become(state: Path, *words: str) -> None:
    """Replace this process by `docker compose …`."""
    line = command(state, *words)
    os.chdir(PROJECT)
    os.execvpe(line[0], line, environment(state))  # noqa: S606 - no shell is wanted


def call(state: Path, *words: str) -> None:
    """Run `docker compose …`. Raises LocalError where it fails."""
    line = command(state, *words)
    done = subprocess.run(line, check=False, cwd=PROJECT, env=environment(state))  # noqa: S603 - our own words
    if done.returncode:
        raise LocalError(f"docker compose {next(word for word in words if word in ASKED)} failed")


def command(state: Path, *words: str) -> list[str]:
    if not (state / PASSWORDS_FILE).exists():
        raise LocalError("nothing was started here yet. Start it with: outbox up")
    return ["docker", "compose", "--env-file", str(state / PASSWORDS_FILE), "-f", str(FILE), *words]


def environment(state: Path) -> dict[str, str]:
    """For compose the environment wins over --env-file; a POSTGRES_PASSWORD of another project must not."""
    return {**os.environ, **env.read(state, PASSWORDS_FILE)}
