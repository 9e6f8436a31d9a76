"""A producer's key may be limited to event types and channels. Here it is held to that.

What lies outside of the limits cannot be created: 403, and the field is named. What others have created outside of
them is to such a key as if it were not there: 404, as for an id that does not exist.
"""

from collections.abc import Iterable, Sequence

from outbox.api.problems import ProblemError
from outbox.envelope import Notification
from outbox.errors import InvalidNotificationError
from outbox.tokens import Identity


def hold(caller: Identity, notification: Notification) -> None:
    """Raises ProblemError, 403, naming the field."""
    if caller.limits and (broken := outside(caller, notification, "")):
        raise beyond(broken)


def hold_all(caller: Identity, batch: Sequence[Notification]) -> None:
    """Raises ProblemError, 403, naming each field of each index."""
    if caller.limits:
        broken = [
            error
            for index, each in enumerate(batch)
            for error in outside(caller, each, f"notifications.{index}.")
        ]
        if broken:
            raise beyond(broken)


def hides(caller: Identity, event_type: str, channels: Iterable[str]) -> bool:
    """Whether this caller is not to see such a notification."""
    return bool(caller.limits and caller.limits.broken(event_type, channels))


def outside(caller: Identity, notification: Notification, place: str) -> list[InvalidNotificationError]:
    channels = [*notification.channels, *(notification.escalate_channels or ())]
    return [
        InvalidNotificationError(place + field, rule)
        for field, rule in caller.limits.broken(notification.event_type, channels)
    ]


def beyond(broken: Sequence[InvalidNotificationError]) -> ProblemError:
    detail = f"The key is limited: {broken[0]}."
    return ProblemError(403, "beyond-key", detail, broken)
