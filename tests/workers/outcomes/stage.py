"""A worker, one far side, and what a person would see of a case: at the recipient, on the timeline, in the metrics,
among the dead letters."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Protocol
from uuid import UUID

from prometheus_client import REGISTRY

from db.delivery import FINAL
from tests.workers.conftest import Road, eventually
from tests.workers.outcomes.table import Seen

COUNTERS = {
    "notifications_processed_total": ("processed", "status"),
    "notifications_failed_total": ("failed", "error_type"),
    "outbox_provider_attempts_total": ("attempts", "result"),
}
OPEN = ("retrying", "deferred")
OUTAGE = 6  # more than open a circuit
SKIPPED = frozenset({"processed{deferred}", "failed{circuit_open}", "attempts{skipped}"})
LEASE_SECONDS = 40  # an attempt may take half of it
SHORT_LEASE_SECONDS = 4  # where no answer comes


def nothing() -> None:
    """All is well."""


@dataclass(frozen=True, slots=True)
class Case:
    """How it comes about. `order`: what goes wrong with the next attempt. `to`: another address than usual. `config`
    and `columns`: of the channel and of the notification."""

    order: Callable[[], object] = nothing
    to: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, Any] = field(default_factory=dict)


class Far(Protocol):
    """One provider's double, with the cases that it can bring about."""

    @property
    def channel(self) -> str: ...

    @property
    def config(self) -> Mapping[str, Any]: ...

    @property
    def cases(self) -> Mapping[str, Case]: ...

    async def settle_in(self, road: Road, user: str, to: str | None) -> None:
        """The recipient, with an address that works unless another is given."""
        ...

    def has(self, words: str) -> bool:
        """Whether something with these words in its title arrived."""
        ...

    def fail(self) -> None:
        """From now on, whatever comes."""
        ...

    def heal(self) -> None: ...


@dataclass(slots=True)
class Stage:
    road: Road
    far: Far
    numbers: "count[int]" = field(default_factory=lambda: count(1))

    async def play(self, name: str) -> Seen:
        """Once, until it is well again; and once as the last attempt."""
        case, channel = self.far.cases[name], self.far.channel
        user, before = f"user-{next(self.numbers)}", counted(channel)
        sent = await self.attempt(user, case, attempts=8)
        metrics = frozenset(name for name, number in counted(channel).items() if number > before.get(name, 0))
        event, kind = await self.told(sent)
        dead = await self.dead_letter(sent)
        if event not in OPEN:
            recipient = "has it" if self.far.has(user) else "nothing"
            return Seen(recipient, words(event, kind), metrics, "at once" if dead else "–")
        assert dead is None
        recipient = await self.mended(sent, user, kind)
        assert await self.last(case) == kind
        return Seen(recipient, words(event, kind), metrics, "after the last attempt")

    async def outage(self) -> Seen:
        """The far side fails for an hour, and is well again: by itself, with the config that it had."""
        channel, before = self.far.channel, counted(self.far.channel)
        self.far.heal()
        await self.configure({}, 8)
        self.far.fail()
        users = [f"user-{next(self.numbers)}" for _ in range(OUTAGE)]
        for user in users:
            await self.far.settle_in(self.road, user, None)
            await self.road.send(channel, user_id=user, payload={"title": user})
        await self.deferred(OUTAGE)
        await self.road.admin.execute(
            "UPDATE notify.notifications SET created_at = created_at - interval '1 hour'"
        )
        await self.deferred(3 * OUTAGE)
        states = await self.road.admin.fetch("SELECT status, attempts FROM notify.deliveries")
        assert all(row["status"] not in FINAL and row["attempts"] < 8 for row in states)
        assert not await self.road.admin.fetchval("SELECT count(*) FROM notify.notifications_failed")
        grown = {name for name, number in counted(channel).items() if number > before.get(name, 0)}
        self.far.heal()
        await eventually(self.all_arrived, "all is delivered")
        assert all(map(self.far.has, users))
        return Seen("later", ("deferred", "circuit_open"), frozenset(grown & SKIPPED), "not within the hour")

    async def deferred(self, number: int) -> None:
        """Until so many were put off because the circuit is open."""

        async def enough() -> bool:
            await self.road.promote()
            found = await self.road.admin.fetchval(
                "SELECT count(*) FROM notify.delivery_events"
                " WHERE event = 'deferred' AND detail->>'error_class' = 'circuit_open'"
            )
            return bool(found >= number)

        await eventually(enough, f"{number} were put off")

    async def all_arrived(self) -> bool:
        await self.road.promote()
        query = "SELECT count(*) FROM notify.deliveries WHERE status <> 'delivered'"
        return bool(await self.road.admin.fetchval(query) == 0)

    async def arrived(self, sent: UUID, *, hurry: bool = False) -> bool:
        """`hurry`: whatever waits is due by now."""
        if hurry:
            await self.road.admin.execute("UPDATE notify.scheduled SET due_at = clock_timestamp()")
        await self.road.promote()
        return await self.road.status(sent, self.far.channel) == "delivered"

    async def attempt(self, user: str, case: Case, attempts: int) -> UUID:
        """A new version of the config first: connections and circuits are those of a new one."""
        self.far.heal()
        await self.configure(case.config, attempts)
        await self.far.settle_in(self.road, user, case.to)
        case.order()
        payload = {"title": user, **case.columns.get("payload", {})}
        columns = {**case.columns, "user_id": user, "payload": payload}
        sent = await self.road.send(self.far.channel, **columns)
        await self.settled(sent)
        return sent

    async def configure(self, config: Mapping[str, Any], attempts: int) -> None:
        await self.road.admin.execute(
            "UPDATE notify.channels SET config = $2, max_attempts = $3 WHERE name = $1",
            self.far.channel,
            json.dumps({**self.far.config, **config}),
            attempts,
        )

    async def settled(self, sent: UUID) -> None:
        """It is counted before it leaves the stream."""

        async def done() -> bool:
            return await self.road.status(sent, self.far.channel) not in {None, "pending", "sending"}

        await eventually(done, f"the {self.far.channel} delivery is settled")
        await self.road.until_empty(self.far.channel)

    async def mended(self, sent: UUID, user: str, kind: str | None) -> str:
        """What the recipient has once the far side is well again and the next attempt is due."""
        self.far.heal()
        await self.configure({}, 8)
        await self.far.settle_in(self.road, user, None)
        await eventually(lambda: self.arrived(sent, hurry=True), "it is delivered")
        assert self.far.has(user)
        return "perhaps" if kind == "unknown" else "later"

    async def last(self, case: Case) -> str | None:
        """The class of the dead letter where only one attempt is allowed."""
        sent = await self.attempt(f"user-{next(self.numbers)}", case, attempts=1)
        event, _ = await self.told(sent)
        assert event in {"failed", "unknown"}, event
        return await self.dead_letter(sent)

    async def told(self, sent: UUID) -> tuple[str, str | None]:
        event, detail = (await self.road.events(sent))[-1]
        return event, detail.get("error_class")

    async def dead_letter(self, sent: UUID) -> str | None:
        found = await self.road.admin.fetchval(
            "SELECT error_class FROM notify.notifications_failed WHERE notification_id = $1", sent
        )
        assert found is None or isinstance(found, str)
        return found


def words(event: str, kind: str | None) -> tuple[str, ...]:
    return (event,) if kind is None else (event, kind)


def counted(channel: str) -> dict[str, float]:
    """Of the counters that the table speaks of, by its words for them."""
    found: dict[str, float] = {}
    for metric in REGISTRY.collect():
        for sample in metric.samples:
            if sample.name in COUNTERS and sample.labels["channel"] == channel:
                word, label = COUNTERS[sample.name]
                name = f"{word}{{{sample.labels[label]}}}"
                found[name] = found.get(name, 0.0) + sample.value  # of every provider
    return found
