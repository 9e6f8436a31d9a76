"""What the API answers, as the client gives it on. A field that a newer server adds is passed over."""

from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict

FINAL = frozenset({"delivered", "failed", "unknown", "expired", "canceled", "digested", "suppressed"})


class Told(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Accepted(Told):
    """Committed. `replayed`: the dedup_key was taken before, and this is the first one's id."""

    id: UUID
    status_url: str
    replayed: bool = False


class AcceptedOfMany(Told):
    """In the order of the request."""

    notifications: list[Accepted]


class Delivery(Told):
    """One channel of a notification. `why`: the reason for which it has not been sent."""

    channel: str
    status: str
    attempts: int
    next_attempt_at: AwareDatetime | None = None
    why: str | None = None


class Seen(Told):
    """How far a notification has come."""

    id: UUID
    status: str
    event_type: str
    user_id: str
    channels: list[str]
    payload: dict[str, Any]
    created_at: AwareDatetime
    deliveries: list[Delivery]
    timeline: list[dict[str, Any]]

    @property
    def final(self) -> bool:
        """Whether every channel has come to an end."""
        return all(delivery.status in FINAL for delivery in self.deliveries)


class Found(Told):
    """A notification in a list; `payload` only where it was asked for."""

    id: UUID
    status: str
    event_type: str
    user_id: str
    channels: list[str]
    dedup_key: str | None
    priority: str
    created_at: AwareDatetime
    deliver_at: AwareDatetime | None
    canceled_at: AwareDatetime | None
    deliveries: list[Delivery]
    payload: dict[str, Any] | None = None


class NotificationPage(Told):
    """`next_cursor`: null on the last page."""

    notifications: list[Found]
    next_cursor: str | None


class Preference(Told):
    """A wish of a recipient: the nearest wins, an event type, then the longest category, then `*`."""

    channel: str
    event_type: str = "*"
    enabled: bool = True
    constraints: dict[str, Any] = {}
    updated_at: AwareDatetime | None = None


class Preferences(Told):
    preferences: list[Preference]


class Device(Told):
    id: UUID
    platform: str
    token: str
    registered_at: AwareDatetime


class Devices(Told):
    devices: list[Device]


class InboxItem(Told):
    """One notification in a user's inbox. `seq` is dense per user."""

    seq: int
    notification_id: UUID
    event_type: str
    actor_user_id: str | None = None
    payload: dict[str, Any]
    created_at: AwareDatetime
    delivered_at: AwareDatetime
    read_at: AwareDatetime | None = None
    archived_at: AwareDatetime | None = None


class Withdrawn(Told):
    """What cancelling came to, channel by channel: `stopped` is false where it was too late."""

    channel: str
    stopped: bool
    status: str
    detail: str


class Canceled(Told):
    id: UUID
    canceled_at: AwareDatetime
    deliveries: list[Withdrawn]


class InboxPage(Told):
    """`next_cursor`: null on the last page."""

    items: list[InboxItem]
    next_cursor: str | None
    unread: int
    version: int


class InboxCount(Told):
    """`total` counts archived items, too."""

    unread: int
    total: int
    version: int
    last_seq: int


class InboxState(Told):
    """After a change. `changed`: whether anything was not so before."""

    changed: bool
    unread: int
    version: int
    last_seq: int


class Recipient(Told):
    user_id: str
    email: str | None = None
    phone: str | None = None
    locale: str | None = None
    time_zone: str | None = None
    quiet_hours: dict[str, Any] | None = None
    updated_at: AwareDatetime
