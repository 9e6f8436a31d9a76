"""What is remembered for a time, and not more of it than fits: the oldest goes first."""

from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")

MOST = 10_000


class Recall(Generic[Key, Value]):
    """Times are of whatever clock the caller reads."""

    def __init__(self, most: int | None = None) -> None:
        self._most = most or MOST
        self._held: dict[Key, tuple[Value, float]] = {}

    def get(self, key: Key, now: float) -> Value | None:
        """What is remembered until after `now`."""
        held = self._held.get(key)
        return held[0] if held is not None and held[1] > now else None

    def put(self, key: Key, value: Value, until: float) -> None:
        self._held.pop(key, None)
        if len(self._held) >= self._most:
            del self._held[next(iter(self._held))]
        self._held[key] = (value, until)

    def forget(self, key: Key) -> None:
        self._held.pop(key, None)
