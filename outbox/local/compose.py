"""`outbox up` with a Docker engine: the compose stack of the project, with passwords made on this machine."""

import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from outbox.local import env
from outbox.local.env import LocalError
from outbox.local.ports import LOOPBACK
from outbox.settings import PROJECT

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
)
PORTS = {"OUTBOX_POSTGRES_PORT": 15432, "OUTBOX_REDIS_PORT": 16379, **env.PORTS}
PROBE_SECONDS = 5.0


def usable() -> bool:
    """Whether a Docker engine with compose answers, and the compose file is there (a checkout, not a wheel)."""
    if env.given("OUTBOX_NO_DOCKER") or not FILE.exists() or not shutil.which("docker"):
        return False
    return all(answers(*words) for words in (("info",), ("compose", "version")))


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


def up(state: Path, *, detach: bool) -> None:
    """Become `docker compose up`, so that Ctrl-C and the exit code are compose's own."""
    state.mkdir(parents=True, exist_ok=True)
    values = settings_of(env.read(state, PASSWORDS_FILE))
    env.write(state, values, PASSWORDS_FILE)
    env.write(state, values)
    become(state, "up", "--build", *(["--detach", "--wait"] if detach else []))


def settings_of(kept: Mapping[str, str]) -> dict[str, str]:
    """What compose.yml asks for, and what other `outbox` commands on this machine need."""
    ports = {name: env.given(name) or kept.get(name) or str(port) for name, port in PORTS.items()}
    passwords = {name: kept.get(name) or secrets.token_hex(24) for name in PASSWORDS}
    database = f"@{LOOPBACK}:{ports['OUTBOX_POSTGRES_PORT']}/outbox"
    redis = f"@{LOOPBACK}:{ports['OUTBOX_REDIS_PORT']}/0"
    return {
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
    os.execvp(line[0], line)  # noqa: S606 - no shell is wanted


def call(state: Path, *words: str) -> None:
    """Run `docker compose …`. Raises LocalError where it fails."""
    done = subprocess.run(command(state, *words), check=False, cwd=PROJECT)  # noqa: S603 - our own words
    if done.returncode:
        raise LocalError(f"docker compose {words[0]} failed")


def command(state: Path, *words: str) -> list[str]:
    if not (state / PASSWORDS_FILE).exists():
        raise LocalError("nothing was started here yet. Start it with: outbox up")
    return ["docker", "compose", "--env-file", str(state / PASSWORDS_FILE), "-f", str(FILE), *words]
