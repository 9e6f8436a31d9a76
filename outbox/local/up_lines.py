"""The lines of `outbox up`: one colour per process, on the screen and in a capped file for `outbox logs`."""

import os
import queue
import re
import sys
import threading
from pathlib import Path
from typing import IO

from outbox.local import guard

FILE = "up.log"
LIMIT = 5_000_000  # bytes; two files of it are kept
WAITING = 20_000  # lines that a stopped terminal may owe us before lines are left out
COLOURS = {
    "api": 36,
    "relay": 35,
    "worker": 33,
    "gateway": 34,
    "mail": 32,
    "providers": 32,
    "migrate": 90,
    "outbox": 1,
}
WIDTH = max(map(len, COLOURS))
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def paint(text: str, code: int | str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m"


def prefixed(name: str, line: str) -> str:
    return f"{paint(f'{name:<{WIDTH}} │', COLOURS.get(name, 37))} {line}"


def plain(text: str) -> str:
    return ANSI.sub("", text)


def coloured(stream: IO[str]) -> bool:
    """Whether a stream shows colours (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR")


class LogFile:
    """Appends; at its limit it becomes `up.log.1` and a new one begins."""

    def __init__(self, path: Path, limit: int = LIMIT) -> None:
        self.path = path
        self.limit = limit
        self.file = self.open()

    def open(self) -> IO[str]:
        descriptor = guard.open_plain(str(self.path), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        return os.fdopen(descriptor, "a", encoding="utf-8", errors="replace")

    def write(self, line: str) -> None:
        self.file.write(line + "\n")
        self.file.flush()
        if self.file.tell() > self.limit:
            self.file.close()
            self.path.replace(self.path.with_name(f"{FILE}.1"))
            self.file = self.open()


class Lines:
    """Where lines go. A thread of its own writes to the screen: a terminal that is stopped (Ctrl-S,
    a pager) must not stop the processes behind it."""

    def __init__(self, state: Path) -> None:
        self.log = LogFile(state / FILE)
        self.colours = coloured(sys.stdout)
        self.waiting: queue.Queue[str | None] = queue.Queue(WAITING)
        self.left_out = 0
        self.writer = threading.Thread(target=self.write_screen, daemon=True)
        self.writer.start()

    def say(self, name: str, line: str) -> None:
        whole = prefixed(name, line)
        self.log.write(whole)
        self.show(whole)

    def show(self, text: str) -> None:
        """On the screen only."""
        if self.left_out and not self.waiting.full():
            note = f"… {self.left_out} lines left out here, they are in {self.log.path}"
            self.left_out = 0
            self.waiting.put(prefixed("outbox", note))
        try:
            self.waiting.put_nowait(text)
        except queue.Full:
            self.left_out += 1

    def write_screen(self) -> None:
        try:
            while (line := self.waiting.get()) is not None:
                sys.stdout.write((line if self.colours else plain(line)) + "\n")
                if self.waiting.empty():
                    sys.stdout.flush()
        except OSError:  # the terminal is gone; the file still has every line
            sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - nor may the flush at exit fail

    def close(self) -> None:
        """Give the screen a moment to take what it is owed."""
        if not self.waiting.full():
            self.waiting.put(None)
        self.writer.join(timeout=2)
        self.log.file.close()
