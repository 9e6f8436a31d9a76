"""The fields that create a notification, as keywords: `outbox.envelope.Notification` has their rules."""

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
