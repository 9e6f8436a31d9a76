"""What systemd hears of a process, by a datagram to the socket it named (sd_notify(3)). Elsewhere nothing happens.

NOTIFY_SOCKET and WATCHDOG_USEC are no settings: systemd sets them, for this process alone.
"""

import asyncio
import os
import socket
from contextlib import suppress

READY, STOPPING, ALIVE = "READY=1", "STOPPING=1", "WATCHDOG=1"


def tell(state: str) -> None:
    """A notice that does not arrive is systemd's business, never a reason to stop."""
    if not (path := os.environ.get("NOTIFY_SOCKET")):
        return
    address = f"\0{path[1:]}" if path.startswith("@") else path  # @ is how an abstract socket is written
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notice:
        notice.connect(address)
        notice.send(state.encode())


def watchdog() -> float | None:
    """Seconds between two signs of life: half of what systemd waits. None where it wants none of this process."""
    microseconds, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not microseconds.isdigit() or pid not in {"", str(os.getpid())}:
        return None
    return int(microseconds) / 2_000_000


async def stay_alive() -> None:
    """While the event loop turns, say so. Until cancelled."""
    if (pause := watchdog()) is None:
        return
    while True:
        tell(ALIVE)
        await asyncio.sleep(pause)
