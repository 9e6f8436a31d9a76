"""The fields of what is written, as keywords. `outbox.envelope.Notification` has the rules of the first."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Required, TypedDict
from uuid import UUID


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


class NotificationFilter(TypedDict, total=False):
    user_id: str
    event_type: str  # one, or order.*
    channel: str
    status: str  # of the whole; with `channel`, of the delivery by it
    priority: Literal["urgent", "normal", "bulk"]
    dedup_key: str
    since: datetime | str
    until: datetime | str


class ChannelFields(TypedDict, total=False):
    config: Mapping[str, Any]
    enabled: bool
    max_attempts: int
    on_unknown: Literal["resend", "hold", "ask"]


class TemplateFields(TypedDict, total=False):
    subject: str
    body_text: str
    body_html: str


class DeadLetterFilter(TypedDict, total=False):
    channel: str
    error_class: str
    since: datetime | str
    until: datetime | str
    notification_id: UUID | str
