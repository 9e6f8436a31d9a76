"""Pages of a list: how many, from where on. A cursor is opaque to callers; it names the last thing they got."""

import base64
import binascii
import json
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from outbox.api.problems import ProblemError, refused
from outbox.errors import InvalidNotificationError

LIMIT, MOST = 100, 500
T = TypeVar("T")


class Page(BaseModel):
    """What every list's query may hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: Annotated[int, Field(ge=1, le=MOST, description="At most so many.")] = LIMIT
    cursor: Annotated[str, Field(max_length=1000)] | None = Field(
        None, description="Where to go on: the next_cursor of the page before."
    )


def make_cursor(*parts: str | int) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def parse_cursor(text: str, read: Callable[..., T]) -> T:
    """What `read` makes of the parts. Raises ProblemError, 422, for what make_cursor has not made."""
    try:
        parts: Any = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if not isinstance(parts, list):
            raise ValueError
        return read(*parts)
    except (binascii.Error, ValueError, TypeError, AttributeError, RecursionError, OverflowError):
        raise odd_cursor() from None


def odd_cursor() -> ProblemError:
    return refused(InvalidNotificationError("cursor", "is none of this list's next_cursor"))


def moment_and_id(moment: str, identity: str) -> tuple[datetime, UUID]:
    """Of things that are listed by time."""
    at = datetime.fromisoformat(moment)
    if at.tzinfo is None:
        raise ValueError
    return at, UUID(identity)
