"""`local.env` in the state directory: how a running `outbox up` tells other commands where everything is."""

import os
import secrets
import shlex
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from dotenv import dotenv_values

from outbox.errors import OutboxError
from outbox.local import guard
from outbox.local.ports import LOOPBACK, is_free
from outbox.local.ports import RANGE as OTHER_PORTS

FILE = "local.env"
# The settings that hold the ports of our own processes, with the ports that people expect.
PORTS = {
    "OUTBOX_API_PORT": 8080,
    "OUTBOX_GATEWAY_PORT": 8081,
    "OUTBOX_MAIL_PORT": 8025,
    "OUTBOX_SMTP_PORT": 1025,
    "OUTBOX_RELAY_PORT": 9101,
    "OUTBOX_WORKER_PORT": 9102,
    # Of the doubles: their page, and each of them.
    "OUTBOX_PROVIDERS_PORT": 8026,
    "OUTBOX_TWILIO_PORT": 8031,
    "OUTBOX_SENDGRID_PORT": 8032,
    "OUTBOX_FCM_PORT": 8033,
    "OUTBOX_APNS_PORT": 8034,
    "OUTBOX_HOOK_PORT": 8035,
}


class LocalError(OutboxError):
    """`outbox up` cannot do what was asked here; the message is for the person at the keyboard."""


def read(state: Path, file: str = FILE) -> dict[str, str]:
    """What the last `outbox up` wrote; nothing where there was none."""
    with suppress(PermissionError):
        values = dotenv_values(state / file, interpolate=False)
        return {name: value for name, value in values.items() if value is not None}
    raise LocalError(f"{state / file} belongs to another user. Run as that user, or set OUTBOX_STATE.")


def write(state: Path, values: Mapping[str, str], file: str = FILE) -> None:
    """Replace the file in one step. Only its owner may read it: it holds passwords."""
    if odd := [name for name, value in values.items() if "'" in value or not value.isprintable()]:
        raise LocalError(f"{odd[0]} must not contain quotes or control characters; in a URL, write %27 for '")
    scratch = state / f"{file}.tmp"
    lines = [f"{name}={shlex.quote(value)}\n" for name, value in values.items()]
    with os.fdopen(guard.make_anew(str(scratch)), "w", encoding="utf-8") as out:
        out.write("# Written by `outbox up`. The environment wins over it.\n" + "".join(lines))
    scratch.replace(state / file)


def adopt(state: Path) -> None:
    """Put into this process's environment what it lacks: a channel's config may name any variable."""
    for name, value in read(state).items():
        os.environ.setdefault(name, value)


def given(name: str) -> str | None:
    """What the person set; an empty value counts as unset."""
    return os.environ.get(name) or None


def choose_ports(kept: Mapping[str, str]) -> dict[str, int]:
    """A port per process: the one in the environment, else the one of last time, else the usual one, else any.

    Raises LocalError where a port that was asked for is taken.
    """
    chosen: dict[str, int] = {}
    for name, usual in PORTS.items():
        if asked := given(name):
            chosen[name] = asked_for(name, asked)
        else:
            wishes = [int(kept[name])] if kept.get(name, "").isdigit() else []
            chosen[name] = first_free([*wishes, usual, *OTHER_PORTS], set(chosen.values()))
    return chosen


def taken(kept: Mapping[str, str]) -> list[str]:
    """Which of last time's ports somebody listens on."""
    return [name for name in PORTS if kept.get(name, "").isdigit() and not is_free(int(kept[name]))]


def asked_for(name: str, value: str) -> int:
    if not value.isdigit() or not 1 <= int(value) <= 65535:
        raise LocalError(f"{name}={value!r}: must be a port, 1 to 65535")
    if not is_free(int(value)):
        raise LocalError(f"{name}={value}: another program listens there already")
    return int(value)


def first_free(wishes: list[int], used: set[int]) -> int:
    for port in wishes:
        if port not in used and is_free(port):
            return port
    raise LocalError(f"there is no free port on {LOOPBACK}")


def settings_of(urls: Mapping[str, str], ports: Mapping[str, int], kept: Mapping[str, str]) -> dict[str, str]:
    """All that another command needs to know. The token secret is made once and kept."""
    smtp = ports["OUTBOX_SMTP_PORT"]
    return {
        **urls,
        "OUTBOX_ENV": "development",
        "OUTBOX_JWT_SECRET": token_secret(kept),
        "OUTBOX_SHUTDOWN_GRACE": "5",
        "SMTP_URL": given("SMTP_URL") or f"smtp://{LOOPBACK}:{smtp}?tls=none",
        **{name: str(port) for name, port in ports.items()},
    }


def token_secret(kept: Mapping[str, str]) -> str:
    """The person's, else the one of last time, else a new one."""
    return given("OUTBOX_JWT_SECRET") or kept.get("OUTBOX_JWT_SECRET") or secrets.token_urlsafe(48)
