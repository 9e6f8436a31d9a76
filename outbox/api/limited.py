"""A producer's key may be limited to event types and channels. Here it is held to that.

What lies outside of the limits cannot be created: 403, and the field is named. What others have created outside of
them is to such a key as if it were not there: 404, as for an id that does not exist. And its dedup_keys are its own: by
others' it could find out what they have sent, and keep them from sending it.
"""

from collections.abc import Iterable, Sequence

from outbox.api.problems import ProblemError, invalid
from outbox.envelope import DEDUP_KEY_CHARACTERS, Notification
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


def own(caller: Identity, notification: Notification, field: str = "dedup_key") -> Notification:
    """With the dedup_key under which it is kept. Raises ProblemError, 422, naming the field."""
    if not caller.limits or notification.dedup_key is None:
        return notification
    kept = space(caller) + notification.dedup_key
    if len(kept) > DEDUP_KEY_CHARACTERS:
        most = DEDUP_KEY_CHARACTERS - len(space(caller))
        raise invalid(
            InvalidNotificationError(field, f"must be at most {most} characters of a key with limits")
        )
    return notification.model_copy(update={"dedup_key": kept})


def own_all(caller: Identity, batch: Sequence[Notification]) -> list[Notification]:
    return [own(caller, each, f"notifications.{index}.dedup_key") for index, each in enumerate(batch)]


def given(caller: Identity, dedup_key: str | None) -> str | None:
    """A dedup_key as this caller gave it."""
    return dedup_key.removeprefix(space(caller)) if caller.limits and dedup_key else dedup_key


def space(caller: Identity) -> str:
    """Ids of keys have one length, so no two keys make the same of different dedup_keys."""
    return f"{caller.subject}/"


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
