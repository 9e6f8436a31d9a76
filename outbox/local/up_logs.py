"""`outbox logs`: the last lines of the log of `outbox up`, and those that come."""

import sys
import time
from collections import deque
from pathlib import Path
from typing import IO

from outbox.local.env import LocalError
from outbox.local.up_lines import FILE, coloured, plain

LOOK_SECONDS = 0.2


def show(state: Path, count: int, *, follow: bool) -> None:
    """Raises LocalError where nothing was ever logged."""
    path = state / FILE
    if not path.exists():
        raise LocalError(f"there is no log in {state}: `outbox up` has not run there")
    file: IO[str] = path.open(encoding="utf-8", errors="replace")
    older = path.with_name(f"{FILE}.1")
    last: deque[str] = deque(maxlen=count)
    if older.exists():
        last.extend(older.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True))
    last.extend(file)
    put("".join(last))
    while follow:
        put(file.read())
        time.sleep(LOOK_SECONDS)
        file = successor(path, file)


def successor(path: Path, file: IO[str]) -> IO[str]:
    """The same file, or the one that took its name when it was full."""
    try:
        if path.stat().st_ino == Path(f"/dev/fd/{file.fileno()}").stat().st_ino:
            return file
    except FileNotFoundError:
        return file  # between the two
    put(file.read())
    file.close()
    return path.open(encoding="utf-8", errors="replace")


def put(text: str) -> None:
    if text:
        sys.stdout.write(text if coloured(sys.stdout) else plain(text))
        sys.stdout.flush()
