"""A running `outbox up` from outside: started in the background, found, and stopped."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from outbox.local import guard, up_lock
from outbox.local.env import LocalError
from outbox.local.up_lines import FILE

START_SECONDS = 180.0
STOP_SECONDS = 90.0
LOOK_SECONDS = 0.1


def start(state: Path) -> str:
    """Returns the banner once everything is ready. Raises LocalError where it ended before."""
    state.mkdir(parents=True, exist_ok=True)
    if word := up_lock.running(state):
        raise up_lock.AlreadyRunningError(state, word)
    complaints = state / "up.err"
    with os.fdopen(guard.make_anew(str(complaints)), "wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "outbox.cli", "up", "--no-docker"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=file,
            start_new_session=True,
            env=os.environ | {"OUTBOX_STATE": str(state)},
        )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise LocalError(f"it could not be started\n{complaints.read_text(errors='replace').strip()}")
        if (word := up_lock.running(state)) and word.phase == "ready":
            return word.banner
        time.sleep(LOOK_SECONDS)
    raise LocalError(
        f"it is not ready after {START_SECONDS:.0f} s; see: outbox logs (process {process.pid} goes on)"
    )


def stop(state: Path) -> bool:
    """Whether one was running; returns when it has stopped. Raises LocalError where it does not."""
    word = up_lock.running(state)
    if word is None:
        return False
    if word.pid <= 1:
        raise LocalError(f"an `outbox up` is just starting in {state}; try again")
    try:
        os.kill(word.pid, signal.SIGTERM)
    except PermissionError:
        raise LocalError(f"`outbox up` is process {word.pid} of another user") from None
    except ProcessLookupError:
        pass  # it ended this moment
    deadline = time.monotonic() + STOP_SECONDS
    while up_lock.running(state):
        if time.monotonic() > deadline:
            raise LocalError(
                f"process {word.pid} has not stopped after {STOP_SECONDS:.0f} s; see {state / FILE}"
            )
        time.sleep(LOOK_SECONDS)
    return True
