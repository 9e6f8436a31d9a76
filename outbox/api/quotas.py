"""How many requests a producer and a user may make, over all processes together, and what they are told of it
(RateLimit and RateLimit-Policy, draft-ietf-httpapi-ratelimit-headers-10). A batch is as many as it holds.

Redis is not asked for every request: a process takes a hundredth of the quota at once and spends it by itself, so what
is counted is exact to a hundredth for each process, and most requests wait for nothing.
"""

import asyncio
import hashlib
import math
import time
from dataclasses import dataclass, field
from functools import lru_cache

from limits import RateLimitItem, parse
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.exceptions import RedisError
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as Asgi

from outbox.api.metrics import LIMITED
from outbox.api.problems import ProblemError, invalid
from outbox.errors import InvalidNotificationError
from outbox.log import get
from outbox.rates import BLIND_SECONDS, Storage, impatient
from outbox.service import describe
from outbox.settings import Settings
from outbox.tokens import Identity, Scope

log = get("api")

PART = 100
CALLERS = 10_000
LONGEST_REFUSAL_SECONDS = 1.0

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Quota:
    """`name` is told to the caller."""

    name: str
    item: RateLimitItem

    @property
    def seconds(self) -> int:
        return self.item.get_expiry()

    @property
    def policy(self) -> str:
        return f'"{self.name}";q={self.item.amount};w={self.seconds}'


@lru_cache(maxsize=1024)
def quota(name: str, rate: str) -> Quota:
    return Quota(name, parse(rate))


@dataclass(slots=True)
class Lease:
    """What a process holds for one caller. Times are monotonic."""

    left: int = 0
    ends: float = 0.0
    remaining: int = 0
    resets: float = 0.0
    refused_until: float = 0.0
    refused_cost: int = 1  # and whatever costs more
    renewing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def at(self, now: float) -> int:
        """What is left."""
        return self.left if self.ends > now else 0

    def spend(self, now: float, cost: int) -> bool:
        if self.at(now) < cost:
            return False
        self.left -= cost
        return True


class Quotas:
    """Of one process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._nodes = impatient(settings.redis)  # connects when first asked
        self._limiter = SlidingWindowCounterRateLimiter(Storage(self._nodes, settings.redis_prefix))
        self._leases: dict[str, Lease] = {}
        self._blind_until = 0.0

    def of(self, caller: Identity) -> Quota | None:
        """A key's own; of all users, for whoever is only that; of all producers, for everybody else. None: any."""
        if caller.rate:
            return quota("key", caller.rate)
        if caller.scopes.intersection(Scope) == {Scope.USER}:  # an issuer's other words say nothing here
            return quota("user", self._settings.rate_user) if self._settings.rate_user else None
        return quota("producer", self._settings.rate_producer) if self._settings.rate_producer else None

    async def take(self, limit: Quota, caller: Identity, cost: int = 1) -> Headers:
        """So much more, and what the answer says of it. Raises ProblemError: 429, and 503 where nobody can count and
        OUTBOX_RATES_WITHOUT_REDIS is closed."""
        name = who(limit, caller)
        lease, now = self._lease(name), time.monotonic()
        if not lease.spend(now, cost):
            async with lease.renewing:
                now = time.monotonic()
                if not lease.spend(now, cost) and not await self._renewed(limit, name, lease, cost):
                    return []
        return told(limit, lease, now)

    def _lease(self, name: str) -> Lease:
        if (lease := self._leases.get(name)) is None:
            if len(self._leases) >= CALLERS:
                del self._leases[next(iter(self._leases))]
            lease = self._leases[name] = Lease()
        return lease

    async def _renewed(self, limit: Quota, name: str, lease: Lease, cost: int) -> bool:
        """Whether it was counted; False: nobody can count, and it passes. Raises as `take` does."""
        now = time.monotonic()
        if lease.refused_until > now and cost - lease.at(now) >= lease.refused_cost:
            raise too_many(limit, lease, now)
        if self._blind_until > now:
            return self._blind()
        try:
            taken = await self._lend(limit, name, lease, cost)
        except (RedisError, OSError) as error:
            log.warning("api.rates_blind", error=describe(error))
            self._blind_until = time.monotonic() + BLIND_SECONDS
            return self._blind()
        if not taken:
            raise too_many(limit, lease, now)
        return True

    async def _lend(self, limit: Quota, name: str, lease: Lease, cost: int) -> bool:
        """A part of the quota, or what is needed of it, which is spent at once."""
        now = time.monotonic()
        needed = cost - lease.at(now)
        taken = max(needed, limit.item.amount // PART)
        if not await self._limiter.hit(limit.item, name, cost=taken):
            taken = needed if taken > needed and await self._limiter.hit(limit.item, name, cost=needed) else 0
        stats = await self._limiter.get_window_stats(limit.item, name)
        wait = max(stats.reset_time - time.time(), 0.001)
        lease.remaining, lease.resets = stats.remaining, now + wait
        if not taken:
            lease.refused_until, lease.refused_cost = now + min(wait, LONGEST_REFUSAL_SECONDS), needed
            return False
        lease.left, lease.ends = taken - needed, now + limit.seconds
        return True

    def _blind(self) -> bool:
        if self._settings.rates_without_redis == "closed":
            detail = "Requests cannot be counted at the moment; try again."
            raise ProblemError(503, "unavailable", detail, headers={"Retry-After": "1"})
        return False

    async def aclose(self) -> None:
        await self._nodes.aclose()


def who(limit: Quota, caller: Identity) -> str:
    """Redis is not told who it is."""
    facts = f"{caller.via} {caller.subject}".encode("utf-8", "replace")
    return f"api:{limit.name}:{hashlib.blake2b(facts, digest_size=16).hexdigest()}"


def told(limit: Quota, lease: Lease, now: float) -> Headers:
    state = (
        f'"{limit.name}";r={max(0, lease.remaining) + lease.left};t={math.ceil(max(lease.resets - now, 0))}'
    )
    return [(b"ratelimit-policy", limit.policy.encode()), (b"ratelimit", state.encode())]


def too_many(limit: Quota, lease: Lease, now: float) -> ProblemError:
    LIMITED.labels(limit.name).inc()
    wait = max(1, math.ceil(lease.resets - now))
    headers = {name.decode(): value.decode() for name, value in told(limit, lease, now)}
    detail = (
        f"At most {limit.item.amount} requests in {limit.seconds} s, of a batch each; try again in {wait} s."
    )
    return ProblemError(429, "too-many-requests", detail, headers=headers | {"Retry-After": str(wait)})


def never(limit: Quota) -> ProblemError:
    rule = f"must be at most {limit.item.amount} at once: no more pass in {limit.seconds} s"
    return invalid(InvalidNotificationError("notifications", rule))


class Told:
    """Puts what the guard found out into every answer that follows, a problem's too."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Asgi, receive: Receive, send: Send) -> None:
        async def with_limits(message: Message) -> None:
            is_start = message["type"] == "http.response.start"
            if is_start and (found := scope.get("state", {}).get("rate_limit")):
                message["headers"] = [*message["headers"], *found]
            await send(message)

        await self.app(scope, receive, with_limits)
