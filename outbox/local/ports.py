"""Ports of the embedded servers: the same after a restart, as long as nobody else has taken them."""

import json
import random
import socket
from collections.abc import Collection
from contextlib import closing
from itertools import count, islice

from outbox.local.errors import EmbeddedError
from outbox.local.ground import Ground

FILE = "ports.json"
LOOPBACK = "127.0.0.1"
# Above the well-known ones (5432 and 6379 belong to the machine's own servers), and below the
# ephemeral ones, which any outgoing connection may sit on when the servers come back.
RANGE = range(20_000, 32_768)
TRIES = 200
# Whoever seeds the common dice, two processes must not try the same ports.
TURN = count(random.SystemRandom().randrange(len(RANGE)))


def choose(ground: Ground, names: Collection[str], avoid: Collection[int]) -> dict[str, int]:
    """A free port for each name, the remembered one where possible, and remembers them.

    Free means free at this moment: a server that finds its port taken exits, and its start is
    tried again with that port among those to avoid.
    """
    kept = _remembered(ground)
    used = set(avoid)
    chosen = {}
    for name in names:
        port = kept.get(name)
        if port is None or port in used or not is_free(port):
            port = any_free(used)
        used.add(port)
        chosen[name] = port
    if kept | chosen != kept:
        ground.write(FILE, kept | chosen)
    return chosen


def is_free(port: int) -> bool:
    """SO_REUSEADDR, as the servers do: old connections in TIME_WAIT do not hold a port."""
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def any_free(used: Collection[int] = ()) -> int:
    """A port of the range that is free at this moment; each call gives another one. The kernel's own offer (bind to
    port 0) would lie where outgoing connections take theirs, and be gone by the time that a server is up."""
    for number in islice(TURN, TRIES):
        port = RANGE[number % len(RANGE)]
        if port not in used and is_free(port):
            return port
    raise EmbeddedError(f"No free port between {RANGE.start} and {RANGE.stop - 1} on {LOOPBACK}.")


def _remembered(ground: Ground) -> dict[str, int]:
    """Nothing if the file cannot be understood: ports are a convenience."""
    try:
        content = json.loads((ground.state / FILE).read_text())
        return {str(name): int(port) for name, port in content.items() if int(port) in RANGE}
    except (FileNotFoundError, ValueError, TypeError, AttributeError):
        return {}
