"""Whether every query answers. What is empty is a wrong name, a label that nobody sets, or a case that did not come."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from bench.watching.queries import Query, every
from bench.watching.server import Prometheus

AT_ONCE = 4
# What a run without a certain kind of trouble leaves empty, and rightly.
EMPTY: Mapping[str, str] = {"panel Failing loops": "no loop has failed"}


@dataclass(frozen=True, slots=True)
class Answer:
    """`trouble` is what Prometheus complained of; `samples` how many numbers came."""

    query: Query
    samples: int
    trouble: str = ""

    @property
    def holds(self) -> bool:
        return not self.trouble and (self.samples > 0 or self.query.where in EMPTY)


async def ask_all(prometheus: Prometheus, span: tuple[float, float]) -> list[Answer]:
    turns = asyncio.Semaphore(AT_ONCE)
    return await asyncio.gather(*(ask(prometheus, one, span, turns) for one in every()))


async def ask(
    prometheus: Prometheus, query: Query, span: tuple[float, float], turns: asyncio.Semaphore
) -> Answer:
    async with turns:
        try:
            found = await prometheus.range(query.expr, *span, step=1)
        except httpx.HTTPStatusError as error:
            return Answer(query, 0, str(error))
    return Answer(query, sum(len(one.points) for one in found))
