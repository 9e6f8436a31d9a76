"""A channel's config as one lane holds it: made into what sends, and anew whenever a claim shows another version."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

from db import delivery
from db.delivery import Claim
from db.pool import Executor
from outbox.errors import SettingsError
from outbox.log import get
from workers.held import Held
from workers.outcome import Transient, clean

log = get("worker")

S = TypeVar("S")


class Configured(Generic[S]):
    """`make` turns the config into what the channel sends with, and raises SettingsError where it cannot be; `close`
    is for what another version has replaced, once nobody sends with it any more: its connections have requests on
    them."""

    def __init__(
        self, channel: str, make: Callable[[Mapping[str, Any]], S], close: Callable[[S], Awaitable[None]]
    ) -> None:
        self.channel, self._make, self._close = channel, make, close
        self._version: int | None = None
        self._trouble = "the channel's config was not read yet"
        self._held: Held[S] | None = None

    async def refresh(self, executor: Executor, claims: Sequence[Claim]) -> None:
        if all(claim.version == self._version for claim in claims):
            return
        found = await delivery.channel_config(executor, self.channel)
        if found is None or found[0] == self._version:
            return
        before, self._held = self._held, None
        self._version, config = found
        self._trouble = "the channel's config cannot be used; the worker's log says why"
        try:
            self._held = Held(self._make(config), self._close)
            self._trouble = ""
        except SettingsError as error:
            self._trouble = clean(str(error))
        log.info(
            "worker.configured", channel=self.channel, version=self._version, trouble=self._trouble or None
        )
        if before is not None:
            await before.retire()

    def get(self) -> S | Transient:
        """What to send with, or why there is nothing: a config can be mended, so the attempt is made again."""
        return Transient("config", self._trouble) if self._held is None else self._held.made

    @asynccontextmanager
    async def use(self) -> AsyncIterator[S | Transient]:
        """The same, not closed before the block ends."""
        if self._held is None:
            yield Transient("config", self._trouble)
            return
        async with self._held.use() as made:
            yield made

    async def close(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            await held.retire()
