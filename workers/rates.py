"""Rates: how much a provider and a recipient are sent in a time, over all processes together. Counted in Redis, by the
algorithms of `limits` on our own way to its nodes, so that one server and a cluster are the same.

Nobody waits here for another channel or lane: `take` answers at once, and who is refused decides what to do.
"""

import asyncio
import hashlib
import time
from dataclasses import dataclass
from typing import Literal

from limits import RateLimitItem, parse
from limits.aio.strategies import MovingWindowRateLimiter, RateLimiter, SlidingWindowCounterRateLimiter
from redis.exceptions import RedisError

from outbox.errors import SettingsError
from outbox.log import get
from outbox.rates import BLIND_SECONDS, Storage, impatient
from outbox.service import describe
from workers import metrics
from workers.outcome import Deferred

log = get("worker")

CONNECTIONS = 16
LEAST_WAIT_SECONDS = 0.02
# Up to here each send is remembered, and the rate is exact; beyond it two windows are weighted against each other.
EXACT = 1_000
# Of a provider's rate, what only urgent messages may use: a newsletter does not hold up a login code.
RESERVE = 0.1


@dataclass(frozen=True, slots=True)
class Rate:
    """`reserve`: a part kept for what is urgent, which may use both."""

    common: RateLimitItem
    reserve: RateLimitItem | None
    words: str


def rate(text: object, *, reserve: float = 0.0, exact: bool = False) -> Rate:
    """From "50/second" or "5 per 2 hours". Raises SettingsError."""
    try:
        whole = parse(text) if isinstance(text, str) else None
    except ValueError:
        whole = None
    if whole is None or whole.amount < 1:
        raise SettingsError(f"a rate is written like 50/second or 5/hour, not {text!r}")
    if exact and whole.amount > EXACT:
        raise SettingsError(f"a recipient's rate is at most {EXACT} in a time, not {text!r}")
    kept = int(whole.amount * reserve)
    common, words = of(whole, whole.amount - kept), f"{whole.amount} per {whole.get_expiry()} s"
    return Rate(common, of(whole, kept) if kept else None, words)


def of(item: RateLimitItem, amount: int) -> RateLimitItem:
    return type(item)(amount, item.multiples, item.namespace)


class Rates:
    """Of one process. `blind`: what to do while Redis does not answer – send (open), or wait (closed)."""

    def __init__(self, url: str, prefix: str, blind: Literal["open", "closed"] = "open") -> None:
        self._nodes = impatient(url)
        self._storage = storage = Storage(self._nodes, prefix)
        self._exact, self._rough = MovingWindowRateLimiter(storage), SlidingWindowCounterRateLimiter(storage)
        self._blind, self._blind_until = blind, 0.0
        self._free = asyncio.Semaphore(CONNECTIONS)

    async def take(self, it: Rate, *identity: str, urgent: bool = False) -> float:
        """0: one more may be sent now, and is counted. Otherwise seconds until it is worth asking again."""
        async with self._free:
            if self._blind_until > time.monotonic():
                return self._without()
            try:
                return await self._take(it, identity, urgent)
            except (RedisError, OSError) as error:
                self._go_blind(error)
                return self._without()

    def _go_blind(self, error: Exception) -> None:
        if self._blind_until <= time.monotonic():
            log.warning("worker.rates_blind", error=describe(error))
        self._blind_until = time.monotonic() + BLIND_SECONDS

    async def _take(self, it: Rate, identity: tuple[str, ...], urgent: bool) -> float:
        if await self._of(it.common).hit(it.common, *identity):
            return 0.0
        if urgent and it.reserve and await self._of(it.reserve).hit(it.reserve, *identity, "urgent"):
            return 0.0
        stats = await self._of(it.common).get_window_stats(it.common, *identity)
        return max(LEAST_WAIT_SECONDS, stats.reset_time - time.time())

    def _of(self, item: RateLimitItem) -> RateLimiter:
        return self._exact if item.amount <= EXACT else self._rough

    def _without(self) -> float:
        metrics.RATES_BLIND.inc()
        return 0.0 if self._blind == "open" else BLIND_SECONDS

    async def recipient(self, it: Rate, channel: str, address: str) -> Deferred | None:
        """None: this recipient may be sent one more, and it is counted. The address itself is not told to Redis."""
        wait = await self.take(it, *of_recipient(channel, address))
        return Deferred("rate_limited", f"a recipient is sent {it.words} at most", wait) if wait else None

    async def give_back(self, it: Rate, channel: str, address: str) -> None:
        """Nothing was sent to the recipient after all. Where Redis does not answer, one fewer is sent."""
        key = self._storage.bridge.prefixed_key(it.common.key_for(*of_recipient(channel, address)))
        try:
            async with self._nodes.at(key) as node:
                await node.lpop(key)
        except (RedisError, OSError) as error:
            self._go_blind(error)

    async def close(self) -> None:
        await self._nodes.aclose()


def of_recipient(channel: str, address: str) -> tuple[str, ...]:
    return channel, "recipient", hashlib.blake2b(address.encode(), digest_size=16).hexdigest()
