"""The lock of a state directory: one set of servers at a time.

An `flock`, which the kernel lets go of by itself. The guard inherits it and so do the servers:
it is held as long as anything may write in the directory, whatever was killed.
"""

import fcntl
import json
import os
import time
from pathlib import Path

from outbox.local import guard
from outbox.local.errors import EmbeddedError

NAME = "lock"
WHILE_RUNNING = 3.0  # seconds to wait for an owner that gives no sign of stopping
WHILE_STOPPING = 30.0  # a server may have much to write out


def acquire(state: Path) -> int:
    """The descriptor of the held lock. Waits for the previous owner's servers if they are stopping."""
    try:
        lock = guard.open_plain(str(state / NAME), os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise EmbeddedError(f"The lock of the embedded servers cannot be taken: {error}") from error
    try:
        _wait(state, lock)
    except BaseException:
        os.close(lock)
        raise
    return lock


def _wait(state: Path, lock: int) -> None:
    began = time.monotonic()
    while not _try(lock):
        owner = _owner(lock)
        patience = WHILE_STOPPING if _is_stopping(owner) else WHILE_RUNNING
        if time.monotonic() - began > patience:
            raise EmbeddedError(_explain(state, owner))
        time.sleep(0.05)


def _try(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    word = {"app": os.getpid(), "state": "starting"}
    os.ftruncate(lock, 0)
    os.pwrite(lock, json.dumps(word).encode(), 0)
    return True


def _owner(lock: int) -> dict[str, object]:
    """What the owner has left in the file; nothing, if it is being written this moment."""
    try:
        word = json.loads(os.pread(lock, 4096, 0))
    except ValueError:
        return {}
    return word if isinstance(word, dict) else {}


def _is_stopping(owner: dict[str, object]) -> bool:
    """By its own word, or because app or guard were killed and the servers are about to follow."""
    pids = (owner.get("app"), owner.get("guard"))
    killed = any(isinstance(pid, int) and not _exists(pid) for pid in pids)
    return killed or owner.get("state") == "stopping"


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _explain(state: Path, owner: dict[str, object]) -> str:
    return (
        f"The embedded servers of {state} are already running: started by process "
        f"{owner.get('app', 'unknown')}, kept by guard process {owner.get('guard', 'unknown')}. "
        "Use those, stop them first (end the first process; the servers go with it), "
        "or choose another state directory."
    )
