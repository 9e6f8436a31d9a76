"""What a lane keeps about its jobs between two steps of the pipeline, and forgets in order of age."""

from collections.abc import Mapping
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """The last `size` entries. As many as a lane holds at once and more, so that only what was left behind goes."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: dict[K, V] = {}

    def put(self, key: K, value: V) -> None:
        self._kept.pop(key, None)
        self._kept[key] = value
        while len(self._kept) > self._size:
            del self._kept[next(iter(self._kept))]

    def update(self, entries: Mapping[K, V]) -> None:
        for key, value in entries.items():
            self.put(key, value)

    def get(self, key: K) -> V | None:
        return self._kept.get(key)

    def take(self, key: K) -> V | None:
        return self._kept.pop(key, None)
