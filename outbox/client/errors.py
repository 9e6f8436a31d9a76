"""What can go wrong for a caller, named by what to do about it. Problems are RFC 9457 documents."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from outbox.errors import OutboxError


@dataclass(frozen=True, slots=True)
class FieldError:
    """A rule that a field of the request breaks."""

    field: str
    detail: str


class ClientError(OutboxError):
    """The root of all that this package raises."""


class UnreachableError(ClientError):
    """No answer came: the network, a time-out. Whether the request arrived is not known."""


class NotSettledError(ClientError):
    """A notification had not come to an end within the time that `wait` was given."""


class ProblemError(ClientError):
    """The API refused. `kind` is the last part of the problem's type, `errors` the fields it names."""

    def __init__(self, status: int, kind: str, detail: str, errors: tuple[FieldError, ...] = ()) -> None:
        super().__init__(
            "; ".join([f"{status} {detail}", *(f"{each.field}: {each.detail}" for each in errors)])
        )
        self.status, self.kind, self.detail, self.errors = status, kind, detail, errors


class UnauthenticatedError(ProblemError):
    """401: get another token."""


class ForbiddenError(ProblemError):
    """403: the token holds, but not for this."""


class NotFoundError(ProblemError):
    """404."""


class ConflictError(ProblemError):
    """409: what is there already stands in the way."""


class ChangedMeanwhileError(ProblemError):
    """412: somebody else has changed it; read it again and decide again."""


class InvalidRequestError(ProblemError):
    """422: the request breaks the rules in `errors`."""


class ThrottledError(ProblemError):
    """429: too many requests, still after the retries."""


class UnavailableError(ProblemError):
    """5xx, still after the retries: nothing is wrong with the request."""


KINDS: Mapping[int, type[ProblemError]] = {
    401: UnauthenticatedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    412: ChangedMeanwhileError,
    422: InvalidRequestError,
    429: ThrottledError,
}


def problem(status: int, body: bytes) -> ProblemError:
    """The error that an answer stands for. What is no problem document, as from a proxy, is an error all the same."""
    told = document(body)
    kind = str(told.get("type", "")).rpartition(":")[2]
    detail = str(told.get("detail") or told.get("title") or "the answer says no more")
    leaf = KINDS.get(status, UnavailableError if status >= 500 else ProblemError)
    return leaf(status, kind, detail, fields(told.get("errors")))


def document(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def fields(told: object) -> tuple[FieldError, ...]:
    if not isinstance(told, list):
        return ()
    named = [each for each in told if isinstance(each, dict)]
    return tuple(FieldError(str(each.get("field", "")), str(each.get("detail", ""))) for each in named)
