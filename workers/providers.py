"""The providers of a channel: who carries a message outside, in the order they are to be tried.

One attempt goes down the list until a provider takes the message, refuses it for good, or may have taken it. What
makes the next try safe: only an answer, or a failure before the request left, leads on; silence never does.
"""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Generic, Protocol, Self, TypeVar, runtime_checkable

from outbox import tracing
from outbox.errors import SettingsError
from outbox.tracing import Kind
from workers import metrics, traced
from workers.circuit import Admission, Circuit, Sign
from workers.common import Common
from workers.concurrency import Concurrency, paced
from workers.failover import Descent, leads_on, result, sign
from workers.outcome import Delivered, LeaseShort, Outcome, Throttled, Transient, Unknown
from workers.rates import RESERVE as RESERVED
from workers.rates import Rate, rate

M_contra = TypeVar("M_contra", contravariant=True)
M = TypeVar("M")

# Of an attempt's time, what is left for everything but the providers.
RESERVE = 0.1
# How long a provider rests that throttles and names no time.
REST_SECONDS = 1.0


class Provider(Protocol[M_contra]):
    """One far side. It makes one attempt a call, within the seconds it was made for, retries nothing by itself, and
    never raises what its far side did."""

    @property
    def name(self) -> str:
        """As the channel's config names it; the timeline and the metrics do, too."""
        ...

    async def send(self, message: M_contra) -> Outcome: ...

    async def close(self) -> None: ...


@runtime_checkable
class Askable(Protocol[M_contra]):
    """A provider that can be asked whether it has a message, where an attempt may have reached it."""

    @property
    def name(self) -> str: ...

    async def ask(self, message: M_contra, since: datetime) -> Sequence[str] | Transient:
        """The ids of what may be it, made since then; or why it cannot tell now."""
        ...


Maker = Callable[[str, Mapping[str, Any], float], Provider[M]]


def share(budget: float, providers: int) -> float:
    """The seconds that each of so many may take, so that all of them together end in time."""
    return budget * (1 - RESERVE) / providers


def chain(
    config: Mapping[str, Any], makers: Mapping[str, Maker[M]], common: Common, budget: float
) -> "Providers[M]":
    """From `"providers": [{"type": …, "name": …}, …]`, the first being preferred; `makers` by type. Raises
    SettingsError."""
    parts = listed(config, common.channel)
    seconds = share(budget, len(parts))
    made: dict[str, Provider[M]] = {}
    for part in parts:
        kind = part.get("type")
        if not isinstance(kind, str) or kind not in makers:
            known = ", ".join(sorted(makers))
            raise SettingsError(
                f"channel {common.channel}: a provider's type is one of {known}, not {kind!r}"
            )
        name = part.get("name", kind)
        if not isinstance(name, str) or not name or name in made:
            raise SettingsError(
                f"channel {common.channel}: each provider needs a name of its own, not {name!r}"
            )
        made[name] = makers[kind](name, part, seconds)
    return Providers(list(made.values()), common, budget, rates_of(parts))


def rates_of(parts: Sequence[Mapping[str, Any]]) -> Mapping[str, Rate]:
    """By provider: `"rate": "50/second"`. Raises SettingsError."""
    return {
        part.get("name", part["type"]): rate(part["rate"], reserve=RESERVED)
        for part in parts
        if "rate" in part
    }


def listed(config: Mapping[str, Any], channel: str) -> Sequence[Mapping[str, Any]]:
    parts = config.get("providers")
    if not isinstance(parts, list) or not parts or not all(isinstance(part, dict) for part in parts):
        raise SettingsError(
            f'channel {channel}: its config needs "providers": [{{"type": …}}, …], in the order they are tried'
        )
    return parts


@dataclass(frozen=True, slots=True)
class Providers(Generic[M]):
    """Those of one channel. `budget`: the seconds that an attempt may take, all providers together."""

    providers: Sequence[Provider[M]]
    common: Common
    budget: float
    rates: Mapping[str, Rate] = field(default_factory=dict)
    paces: Mapping[str, Concurrency] = field(default_factory=dict)  # by provider; of none: as many as come

    def paced(self, ceiling: int) -> Self:
        """The same providers, each given as many messages at once as it serves, and no more than so many."""
        return replace(self, paces={each.name: Concurrency(ceiling) for each in self.providers})

    def pace(self) -> Concurrency | None:
        """Of the one that would be asked now; None: nobody counts."""
        now = time.monotonic()
        asked = (each.name for each in self.providers if self.common.circuit(each.name).wait(now) == 0)
        return self.paces.get(next(asked, self.providers[0].name))

    async def send(self, message: M, *, urgent: bool = False) -> Outcome:
        """One attempt. The outcome names the provider that it is from, and those tried before it. Where nothing but
        a rate is in the way, it is waited for as long as the budget lasts."""
        deadline = time.monotonic() + self.budget
        least = share(self.budget, len(self.providers))
        while True:
            descent = Descent()
            outcome = await self._descend(message, descent, deadline, urgent)
            pause = descent.pause()
            if outcome or pause is None or time.monotonic() + pause + least > deadline:
                return outcome or descent.fallen()
            await asyncio.sleep(pause * random.uniform(1, 1.5))

    async def _descend(self, message: M, descent: Descent, deadline: float, urgent: bool) -> Outcome | None:
        """Down the list once. None: nobody took it."""
        for provider in self.providers:
            if deadline - time.monotonic() < share(self.budget, len(self.providers)) and descent.steps:
                break
            circuit = self.common.circuit(provider.name)
            admission = circuit.admit(time.monotonic())
            if admission is Admission.REFUSED:
                self._skip(provider.name, circuit, descent)
                continue
            if wait := await self._rate(provider.name, urgent):
                circuit.release(admission)
                descent.skip(
                    provider.name, "rate_limited", f"its rate is {self.rates[provider.name].words}", wait
                )
                continue
            outcome = await self._ask(provider, message, admission, deadline)
            if isinstance(outcome, Delivered | LeaseShort) or not leads_on(outcome):
                return descent.ended(outcome)
            probe = admission is Admission.PROBE
            descent.failed(provider.name, outcome, circuit.wait(time.monotonic()), probe=probe)
        return None

    async def _rate(self, provider: str, urgent: bool) -> float:
        """Seconds until this provider may be sent more; 0: now."""
        if self.common.rates is None or provider not in self.rates:
            return 0.0
        return await self.common.rates.take(
            self.rates[provider], self.common.channel, provider, urgent=urgent
        )

    async def _ask(self, provider: Provider[M], message: M, admission: Admission, deadline: float) -> Outcome:
        name, circuit = provider.name, self.common.circuit(provider.name)
        try:
            about = {"outbox.provider": name}
            with (
                metrics.PROVIDER_SECONDS.labels(self.common.channel, name).time(),
                tracing.span(f"send {name}", Kind.CLIENT, about) as span,
            ):
                outcome = await paced(self.paces.get(name), within(provider.send(message), deadline))
                traced.answered(span, outcome)
            note(circuit, admission, outcome)
        finally:
            circuit.release(admission)
            if self.common.circuits.get(name) is circuit:  # else another config has come meanwhile
                gauge = metrics.PROVIDER_CIRCUIT.labels(self.common.channel, name)
                gauge.set_function(lambda: circuit.shown(time.monotonic()))
        metrics.PROVIDER_ATTEMPTS.labels(self.common.channel, name, result(outcome)).inc()
        return named(outcome, name)

    async def ask(self, message: M, since: datetime) -> Mapping[str, Sequence[str]] | Transient:
        """Those that may have this message, with their ids of it, by provider. Nothing is sent."""
        found: dict[str, Sequence[str]] = {}
        for provider in self.providers:
            if isinstance(provider, Askable):
                ids = await provider.ask(message, since)
                if isinstance(ids, Transient):
                    return replace(ids, provider=provider.name)
                found[provider.name] = ids
        return found

    def _skip(self, name: str, circuit: Circuit, descent: Descent) -> None:
        now = time.monotonic()
        if circuit.resting(now):
            descent.skip(name, "throttled", "it asked for a pause", circuit.wait(now))
        else:
            descent.skip(name, "circuit_open", "it has failed too often", circuit.wait(now))
        metrics.PROVIDER_ATTEMPTS.labels(self.common.channel, name, "skipped").inc()

    async def close(self) -> None:
        self.common.forget()
        for provider in self.providers:
            await provider.close()


async def within(sending: Coroutine[Any, Any, Outcome], deadline: float) -> Outcome:
    """A provider keeps its own time; one that does not is cut off, and nobody knows what it has sent."""
    try:
        async with asyncio.timeout(deadline - time.monotonic()) as limit:
            return await sending
    except TimeoutError:
        if not limit.expired():
            raise
        return Unknown("the provider was cut off at the end of the attempt's time")


def note(circuit: Circuit, admission: Admission, outcome: Outcome) -> None:
    now, told = time.monotonic(), sign(outcome)
    circuit.record(admission, told, now, random.random())
    if isinstance(outcome, Throttled):
        circuit.rest(now, outcome.retry_after or REST_SECONDS)
    elif isinstance(outcome, Transient) and outcome.retry_after and told is Sign.ILL:
        circuit.rest(now, outcome.retry_after)


def named(outcome: Outcome, provider: str) -> Outcome:
    return outcome if isinstance(outcome, LeaseShort) else replace(outcome, provider=provider)
