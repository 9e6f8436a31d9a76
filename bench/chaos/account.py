"""What the producers know of their own doing: the outside view that the audit starts from."""

from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import count
from time import time


class Fate(Enum):
    OPEN = auto()  # begun, no COMMIT was sent: must not exist
    UNKNOWN = auto()  # COMMIT was sent and its answer never came: the database tells
    COMMITTED = auto()  # Postgres, or the API, said so: must exist
    ROLLED_BACK = auto()  # must not exist


@dataclass(slots=True)
class Wish:
    """One notification that a producer meant to write, under a title that no other has."""

    title: str
    channels: tuple[str, ...]
    by_http: bool = False
    fate: Fate = Fate.OPEN
    at: float = 0.0  # Unix seconds at which its fate was known


@dataclass(slots=True)
class Account:
    wishes: dict[str, Wish] = field(default_factory=dict)
    committed: int = 0
    numbers: "count[int]" = field(default_factory=lambda: count(1))

    def wish(self, channels: tuple[str, ...], *, by_http: bool = False) -> Wish:
        wish = Wish(f"n{next(self.numbers)}", channels, by_http, at=time())
        self.wishes[wish.title] = wish
        return wish

    def settle(self, wishes: list[Wish], fate: Fate) -> None:
        for wish in wishes:
            wish.fate, wish.at = fate, time()
        if fate is Fate.COMMITTED:
            self.committed += len(wishes)
