"""What the checks work with: settings, and ways to Postgres and Redis. And what a check is."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from db.pool import Executor, Pool
from outbox.doctor.finding import Finding
from outbox.nodes import Nodes
from outbox.settings import Settings

Facts = TypeVar("Facts")
Given = ParamSpec("Given")


@dataclass(frozen=True, slots=True)
class Desk:
    """`providers`: whether providers' servers may be greeted, which leaves this installation."""

    settings: Settings
    pool: Pool
    nodes: Nodes
    providers: bool = False

    async def ask(
        self,
        question: Callable[Concatenate[Executor, Given], Awaitable[Facts]],
        *given: Given.args,
        **named: Given.kwargs,
    ) -> Facts:
        """One of db's functions, on a connection of the pool."""
        async with self.pool.acquire() as conn:
            return await question(conn, *given, **named)


@dataclass(frozen=True, slots=True)
class Check(Generic[Facts]):
    """`gather` asks, within the time there is; `judge` is pure."""

    name: str
    gather: Callable[[Desk], Awaitable[Facts]]
    judge: Callable[[Facts], Iterable[Finding]]


@dataclass(frozen=True, slots=True)
class Area:
    """Checks that are shown together. `needs`: the servers without which none of them makes sense."""

    name: str
    needs: frozenset[str]
    checks: tuple[Check[Any], ...]
