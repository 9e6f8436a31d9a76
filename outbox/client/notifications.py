"""The operations on notifications: create one or many, look, wait for the end, cancel. Generators, see steps.py."""

import time
from collections.abc import Iterable, Mapping
from typing import Any, Unpack
from uuid import UUID, uuid4

from outbox.client.errors import NotSettledError
from outbox.client.fields import NotificationFields, NotificationFilter
from outbox.client.models import Accepted, AcceptedOfMany, Canceled, NotificationPage, Seen
from outbox.client.query import query
from outbox.client.retry import Retry
from outbox.client.steps import Answer, Call, Pause, Steps, ask, reading

PATH = "/v1/notifications"
LOOK_SECONDS = (0.05, 2.0)  # between two looks of `wait`: the first, and what doubling ends at


def create(retry: Retry, **fields: Unpack[NotificationFields]) -> Steps[Accepted]:
    """Create a notification; committed when this returns. The fields are those of `outbox.envelope.Notification`.

    Without a dedup_key one is made up, so that a repeat after a lost answer creates nothing twice.
    Raises InvalidRequestError naming the broken fields, and the rest of ClientError.
    """
    own = fields.get("dedup_key") is None
    call = Call("POST", PATH, body=keyed(fields))

    def read(answer: Answer) -> Accepted:
        accepted = Accepted.model_validate_json(answer.body)
        # Under a key made up here, what was there before is this very call's first attempt.
        replayed = not own and answer.headers.get("idempotent-replayed") == "true"
        return accepted.model_copy(update={"replayed": replayed})

    return ask(call, read, retry)


def create_many(retry: Retry, notifications: Iterable[NotificationFields]) -> Steps[AcceptedOfMany]:
    """Create up to 1,000 notifications: all of them are committed when this returns, or none.

    Raises InvalidRequestError, whose fields name the index: `notifications.3.event_type`.
    """
    batch = list(notifications)
    own = [fields.get("dedup_key") is None for fields in batch]

    def read(answer: Answer) -> AcceptedOfMany:
        told = AcceptedOfMany.model_validate_json(answer.body).notifications
        seen = zip(told, own, strict=True)
        return AcceptedOfMany(
            notifications=[
                each.model_copy(update={"replayed": each.replayed and not made_up}) for each, made_up in seen
            ]
        )

    return ask(Call("POST", f"{PATH}:batch", body={"notifications": [*map(keyed, batch)]}), read, retry)


def get(retry: Retry, notification_id: UUID | str) -> Steps[Seen]:
    """How far it has come, on which channel, and why it was not sent where it was not. Raises NotFoundError."""
    return ask(Call("GET", path(notification_id)), reading(Seen), retry)


def page(
    retry: Retry,
    cursor: str | None = None,
    *,
    limit: int = 100,
    payload: bool = False,
    **which: Unpack[NotificationFilter],
) -> Steps[NotificationPage]:
    """Those that fit, newest first; `cursor`: the next_cursor of the page before. A page may hold fewer than `limit`,
    or none, and still not be the last: that is one without a next_cursor. Not for keys with limits."""
    call = Call("GET", PATH, query(cursor=cursor, limit=limit, payload=payload or None, **which))
    return ask(call, reading(NotificationPage), retry)


def cancel(retry: Retry, notification_id: UUID | str) -> Steps[Canceled]:
    """Stop what has not been sent yet. Raises NotFoundError."""
    return ask(Call("DELETE", path(notification_id)), reading(Canceled), retry)


def wait(retry: Retry, notification_id: UUID | str, seconds: float = 30) -> Steps[Seen]:
    """Look until every channel has come to an end. Raises NotSettledError after so many seconds, and as `get` does."""
    pause, most = LOOK_SECONDS
    deadline = time.monotonic() + seconds
    while True:
        seen = yield from get(retry, notification_id)
        if seen.final:
            return seen
        left = deadline - time.monotonic()
        if left <= 0:
            raise NotSettledError(f"{notification_id} is still {seen.status} after {seconds:g} s")
        yield Pause(min(pause, left))
        pause = min(most, pause * 2)


def keyed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON wants it, under a dedup_key in any case."""
    given = {name: value for name, value in fields.items() if value is not None}
    return {"dedup_key": f"client:{uuid4()}"} | {name: plain(value) for name, value in given.items()}


def plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value


def path(notification_id: UUID | str) -> str:
    return f"{PATH}/{UUID(str(notification_id))}"
