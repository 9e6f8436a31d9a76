"""An event loop without a clock of its own: it runs until nothing is left to run, and time is somebody's choice."""

import asyncio
import selectors
from collections.abc import Mapping
from typing import Any


class Idle(selectors.BaseSelector):
    """Watches no file. Where the loop would begin to wait, it stops instead."""

    def __init__(self) -> None:
        self.loop: StillLoop | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self.loop is not None and (timeout is None or timeout > 0):
            self.loop.stop()
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, 0, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, 0, 0, None)

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        raise KeyError(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return {}


class StillLoop(asyncio.SelectorEventLoop):
    """Real asyncio; `now` moves only when it is set."""

    def __init__(self) -> None:
        selector = Idle()
        self.now = 1000.0
        super().__init__(selector)
        selector.loop = self

    def time(self) -> float:
        return self.now

    def until_idle(self) -> None:
        """Run what can run, up to where everyone waits for a reply or for time to pass."""
        self.run_forever()

    def stop_all(self) -> None:
        tasks = asyncio.all_tasks(self)
        for task in tasks:
            task.cancel()
        self.until_idle()
        self.close()
