"""The client without its I/O: an operation is a generator that says what to send and how long to pause.

The two shells, `AsyncClient` and `Client`, do what it says. So what is retried, and how an answer is read,
stands here once.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel

from outbox.client.errors import UnreachableError, problem
from outbox.client.retry import REFUSED, Retry, retry_after

T = TypeVar("T")
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `repeatable`: sent twice, it does what it does once."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None  # JSON; None: no body
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes


@dataclass(frozen=True, slots=True)
class Lost:
    """No answer. `left`: the request may have arrived."""

    why: str
    left: bool


# What a shell is told to do, what it gives back (None for a pause), and what the operation comes to.
Steps = Generator[Call | Pause, Answer | Lost | None, T]
Reader = Callable[[Answer], T]


def ask(call: Call, read: Reader[T], retry: Retry) -> Steps[T]:
    """Send until there is an answer that counts. Raises ClientError."""
    attempt = 1
    while True:
        told = yield call
        assert told is not None
        if isinstance(told, Answer) and told.status < 300:  # a redirect is somebody else's: nothing was done
            return read(told)
        pause = retry.pause(attempt, asked(told)) if may_repeat(call, told) else None
        if pause is None:
            raise failure(told)
        yield Pause(pause)
        attempt += 1


def may_repeat(call: Call, told: Answer | Lost) -> bool:
    if isinstance(told, Lost):
        return call.repeatable or not told.left
    return told.status in REFUSED and (call.repeatable or told.status == 429)


def asked(told: Answer | Lost) -> float | None:
    return retry_after(told.headers) if isinstance(told, Answer) else None


def failure(told: Answer | Lost) -> Exception:
    return UnreachableError(told.why) if isinstance(told, Lost) else problem(told.status, told.body)


def reading(model: type[Model]) -> Reader[Model]:
    """A reader of answers that are this model."""
    return lambda answer: model.model_validate_json(answer.body)


def nothing(answer: Answer) -> None:
    """The reader of answers without a body."""
