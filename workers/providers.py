"""The providers of a channel: who carries a message outside, in the order they are to be tried."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

from workers.outcome import LeaseShort, Outcome

M_contra = TypeVar("M_contra", contravariant=True)
M = TypeVar("M")


class Provider(Protocol[M_contra]):
    """One far side. It makes one attempt a call, retries nothing by itself, and never raises what its far side did."""

    @property
    def name(self) -> str:
        """As the channel's config names it; the timeline and the metrics do, too."""
        ...

    async def send(self, message: M_contra) -> Outcome: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Providers(Generic[M]):
    """Those of one channel. The outcome names the one that it is from."""

    providers: Sequence[Provider[M]]

    async def send(self, message: M) -> Outcome:
        first = self.providers[0]
        return named(await first.send(message), first.name)

    async def close(self) -> None:
        for provider in self.providers:
            await provider.close()


def named(outcome: Outcome, provider: str) -> Outcome:
    return outcome if isinstance(outcome, LeaseShort) else replace(outcome, provider=provider)
