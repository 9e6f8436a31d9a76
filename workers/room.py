"""How many entries one lane of a channel holds in this process, however many shards it is read from."""

import asyncio


class Room:
    """What is free is shared out among the lane's readers, none of which knows whether its stream has anything: a shard
    with much takes a share again and again, and those without hold nothing back."""

    def __init__(self) -> None:
        self.held = 0
        self._wakes: list[asyncio.Event] = []

    def enter(self, wake: asyncio.Event) -> None:
        """One more reader; `wake` is set whenever there is more room."""
        self._wakes.append(wake)

    def leave(self, wake: asyncio.Event, held: int) -> None:
        """With what it still holds."""
        self._wakes.remove(wake)
        self.release(held)

    def share(self, capacity: int) -> int:
        """How many entries a reader may ask for now; 0: none."""
        return -(-max(capacity - self.held, 0) // max(len(self._wakes), 1))

    def hold(self, number: int) -> None:
        self.held += number

    def release(self, number: int) -> None:
        self.held -= number
        for wake in self._wakes:
            wake.set()
