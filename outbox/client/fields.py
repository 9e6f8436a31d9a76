"""The fields of what is written, as keywords. `outbox.envelope.Notification` has the rules of the first."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Required, TypedDict


class NotificationFields(TypedDict, total=False):
    event_type: Required[str]
    user_id: Required[str]
    actor_user_id: str | None
    channels: Sequence[str]  # left out: in-app
    payload: Mapping[str, Any]
    template_name: str | None
    dedup_key: str | None
    priority: Literal["urgent", "normal", "bulk"]
    deliver_at: datetime | str | None
    expires_at: datetime | str | None
    traceparent: str | None
    digest_key: str | None
    digest_window: int | None  # seconds
    escalate_after: int | None  # seconds
    escalate_channels: Sequence[str] | None


class ContactFields(TypedDict, total=False):
    email: str | None
    phone: str | None  # E.164
    locale: str | None  # BCP 47
    time_zone: str | None  # of the IANA database
    quiet_hours: Mapping[str, Any] | None
