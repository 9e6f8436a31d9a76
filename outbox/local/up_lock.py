"""One `outbox up` at a time in a state directory, and word of it for `down`, `status` and a second `up`."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from outbox.local import guard
from outbox.local.env import LocalError

FILE = "up.lock"


@dataclass(frozen=True, slots=True)
class Word:
    """What a running `up` says of itself."""

    pid: int
    phase: str  # starting, ready, stopping
    banner: str = ""


class AlreadyRunningError(LocalError):
    """Another `outbox up` holds the state directory."""

    def __init__(self, state: Path, word: Word | None) -> None:
        who = f" (process {word.pid}, {word.phase})" if word else ""
        where = f"\n{word.banner}" if word and word.banner else ""
        super().__init__(f"Outbox is running already in {state}{who}. Stop it with: outbox down{where}")


class Lock:
    """An flock, which the kernel lets go of by itself; the file says who holds it."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.after_crash = os.fstat(descriptor).st_size > 0  # a clean end leaves it empty

    def say(self, phase: str, banner: str = "") -> None:
        """One write, so that a reader finds the old word, the new one, or for an instant none."""
        text = json.dumps(asdict(Word(os.getpid(), phase, banner))).encode()
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, text, 0)


@contextmanager
def held(state: Path) -> Iterator[Lock]:
    """Raises AlreadyRunningError. The descriptor is not inherited: the lock ends with this process."""
    descriptor = guard.open_plain(str(state / FILE), os.O_RDWR | os.O_CREAT)
    try:
        if not take(descriptor):
            raise AlreadyRunningError(state, word_in(descriptor))
        lock = Lock(descriptor)
        lock.say("starting")
        try:
            yield lock
        finally:
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def running(state: Path) -> Word | None:
    """The `up` that holds the directory; None where none does, whatever a killed one left in the file."""
    try:
        descriptor = guard.open_plain(str(state / FILE), os.O_RDWR)
    except FileNotFoundError:
        return None
    except PermissionError:
        raise LocalError(f"{state} belongs to another user. Run as that user, or set OUTBOX_STATE.") from None
    try:
        if take(descriptor):
            return None
        word = word_in(descriptor)
        # For an instant the holder has the lock and not yet said so: what stands there is a killed one's.
        return word if word and lives(word.pid) else Word(0, "starting")
    finally:
        os.close(descriptor)


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        pass
    return True


def take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def word_in(descriptor: int) -> Word | None:
    try:
        return Word(**json.loads(os.pread(descriptor, 65_536, 0)))
    except (ValueError, TypeError):
        return None  # being written this moment
