"""Operations as methods: from one generator, `await client.notifications.create(…)` and the same without `await`."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from outbox.client.retry import Retry
from outbox.client.steps import Steps

P = ParamSpec("P")
T = TypeVar("T")
Operation = Callable[Concatenate[Retry, P], Steps[T]]


class Runs(Protocol):
    """The shell of plain code: it does what the steps say, and returns what they come to."""

    retry: Retry

    def run(self, steps: Steps[T], /) -> T: ...


class Awaits(Protocol):
    """The shell of async code."""

    retry: Retry

    async def run(self, steps: Steps[T], /) -> T: ...


class Group:
    """Operations of the plain client."""

    def __init__(self, shell: Runs) -> None:
        self.shell = shell


class AsyncGroup:
    """Operations of the async client."""

    def __init__(self, shell: Awaits) -> None:
        self.shell = shell


def blocking(operation: Operation[P, T]) -> Callable[Concatenate[Group, P], T]:
    @wraps(operation)
    def method(group: Group, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return group.shell.run(operation(group.shell.retry, *args, **kwargs))

    return method


def awaited(operation: Operation[P, T]) -> Callable[Concatenate[AsyncGroup, P], Awaitable[T]]:
    @wraps(operation)
    async def method(group: AsyncGroup, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await group.shell.run(operation(group.shell.retry, *args, **kwargs))

    return method
