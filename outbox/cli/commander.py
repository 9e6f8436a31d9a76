"""Whoever runs a command, as the audit log names them."""

import getpass
import os
import socket
from datetime import UTC, datetime

from outbox.tokens import Identity, Scope, Via


def commander() -> Identity:
    """Login and machine. Who has the service's own login to the database may do what an administrator may."""
    return Identity(
        f"{login()}@{socket.gethostname()}",
        frozenset({Scope.ADMIN}),
        datetime.max.replace(tzinfo=UTC),
        Via.COMMAND,
    )


def login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return f"uid {os.getuid()}"
