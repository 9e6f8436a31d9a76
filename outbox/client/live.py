"""What a socket's frames come to: events with exact counts, and a cursor to come back with. Pure (docs/realtime.md)."""

import json
from dataclasses import dataclass, field
from typing import Any

from outbox.client.errors import ForbiddenError, ProblemError, UnauthenticatedError
from outbox.client.models import InboxItem

RESTARTING, FORBIDDEN, TOKEN_EXPIRED = 1012, 4403, 4419
NEEDS_TOKEN = frozenset({4401, FORBIDDEN})
NEEDS_FIX = frozenset({1009, 4400})


@dataclass(frozen=True, slots=True)
class New:
    """An item, new or missed. `cursor` is what to come back with; `unread` the exact count."""

    item: InboxItem
    unread: int
    cursor: int


@dataclass(frozen=True, slots=True)
class Marked:
    """Items are read, unread, archived or in the list again, by seq; hearing it twice does no harm."""

    unread: int
    read: tuple[int, ...] = ()
    unread_again: tuple[int, ...] = ()
    archived: tuple[int, ...] = ()
    unarchived: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Synced:
    """Everything up to `cursor` has been told."""

    unread: int
    cursor: int


@dataclass(frozen=True, slots=True)
class Reset:
    """The inbox is another one than that of the cursor: forget the items you hold."""


Event = New | Marked | Synced | Reset


@dataclass(slots=True)
class Session:
    """What is known across connections."""

    cursor: int | None
    unread: int = 0
    version: int = -1
    synced: bool = field(default=False)  # on this connection

    def auth(self, token: str) -> str:
        self.synced = False
        return json.dumps({"type": "auth", "token": token, "cursor": self.cursor})

    def take(self, text: str | bytes) -> Event | None:
        """The event that a frame stands for; None for one that nobody needs to hear of."""
        frame: dict[str, Any] = json.loads(text)
        self._count(frame)
        match frame["type"]:
            case "welcome" if not frame["resumed"] and self.cursor is not None:
                self.cursor, self.version, self.unread = None, frame["version"], frame["unread"]
                return Reset()
            case "notification":
                return self._item(frame)
            case "changed":
                return Marked(self.unread, *(tuple(frame.get(name, ())) for name in MARKS))
            case "synced":
                self.synced, self.cursor = True, frame["last_seq"]
                return Synced(self.unread, frame["last_seq"])
            case _:
                return None

    def _item(self, frame: dict[str, Any]) -> New | None:
        item = InboxItem.model_validate(frame)
        if self.cursor is not None and item.seq <= self.cursor:
            return None
        self.cursor = item.seq
        return New(item, self.unread, item.seq)

    def _count(self, frame: dict[str, Any]) -> None:
        """A count with a lower version is an old one. Welcome's comes before the items it counts."""
        if frame["type"] != "welcome" and frame.get("version", -2) >= self.version:
            self.version, self.unread = frame["version"], frame["unread"]


MARKS = ("read", "unread_again", "archived", "unarchived")


def refusal(code: int, reason: str) -> ProblemError | None:
    """Why it makes no sense to come back; None where it does."""
    if code in NEEDS_TOKEN:
        leaf = ForbiddenError if code == FORBIDDEN else UnauthenticatedError
        return leaf(code, "socket", reason or "the token was refused")
    return ProblemError(code, "socket", reason or "the frames were refused") if code in NEEDS_FIX else None


def asked_pause(code: int, reason: str) -> float | None:
    """Seconds after which a gateway that restarts wants to be asked again."""
    digits = reason.removeprefix("retry_ms=")
    return int(digits) / 1000 if code == RESTARTING and digits.isdecimal() and len(digits) < 7 else None
