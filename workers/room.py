"""How many entries one lane of a channel holds in this process, however many shards it is read from."""

import asyncio


class Room:
    """What is free is shared out among the lane's readers, none of which knows whether its stream has anything: a shard
    with much takes a share again and again, and those without hold nothing back."""

    def __init__(self) -> None:
        self.held = 0
        self.attempted = 0  # of these: what is left is to settle them
        self._wakes: list[asyncio.Event] = []

    def enter(self, wake: asyncio.Event) -> None:
        """One more reader; `wake` is set whenever there is more room."""
        self._wakes.append(wake)

    def leave(self, wake: asyncio.Event, held: int, attempted: int) -> None:
        """With what it still holds."""
        self._wakes.remove(wake)
        self.release(held, attempted)

    def share(self, capacity: int, limit: int) -> int:
        """How many entries a reader may ask for now, where `capacity` may be held, and `limit` of them be before the
        end of their attempt; 0: none."""
        left = min(capacity - self.held, limit - (self.held - self.attempted))
        return -(-max(left, 0) // max(len(self._wakes), 1))

    def hold(self, number: int) -> None:
        self.held += number

    def attempt_ended(self) -> None:
        self.attempted += 1
        self._wake()

    def release(self, number: int, attempted: int) -> None:
        self.held -= number
        self.attempted -= attempted
        self._wake()

    def _wake(self) -> None:
        for wake in self._wakes:
            wake.set()
