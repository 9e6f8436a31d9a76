"""How far a notification has come, as the API tells it: one status, each channel, and the timeline. Pure."""

import json
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel

from db.push import DeviceStatus
from outbox.api import why
from outbox.envelope import Priority
from outbox.trace_context import trace_id

# A notification that has nothing open is as its worst delivery is; suppressed only where nothing else happened.
CLOSED = ("failed", "unknown", "expired", "canceled", "digested", "delivered", "suppressed")
COLUMNS = (
    *("event_type", "user_id", "actor_user_id", "channels", "template_name", "dedup_key", "priority"),
    *("created_at", "deliver_at", "expires_at", "traceparent", "digest_key", "digest_window"),
    *("escalate_after", "escalate_channels", "is_digest", "canceled_at"),
)

DeliveryStatus = Literal[
    "pending",
    "sending",
    "retrying",
    "deferred",
    "digested",
    "delivered",
    "failed",
    "unknown",
    "expired",
    "canceled",
    "suppressed",
]
Status = Literal[
    "scheduled",
    "pending",
    "sending",
    "deferred",
    "digested",
    "delivered",
    "failed",
    "unknown",
    "expired",
    "canceled",
    "suppressed",
]


class Device(BaseModel):
    """The last attempt of a push on one device, and what its provider said."""

    device_id: UUID
    status: DeviceStatus
    attempt: int
    provider: str | None
    message_id: str | None
    error_class: str | None
    reason: str | None
    at: AwareDatetime


class Delivery(BaseModel):
    """One channel. What no worker has had yet has no more than the first five. `why`: why it was not sent, or not
    yet; null for what was delivered. Of push, `devices` has those that were tried."""

    channel: str
    status: DeliveryStatus
    attempts: int
    next_attempt_at: AwareDatetime | None
    why: str | None
    attempts_allowed: int | None = None
    provider: str | None = None
    provider_message_id: str | None = None
    error_class: str | None = None
    reason: str | None = None
    claimed_at: AwareDatetime | None = None
    settled_at: AwareDatetime | None = None
    digest_id: UUID | None = None
    devices: list[Device] | None = None


class Event(BaseModel):
    """What happened, to the whole where `channel` is null."""

    at: AwareDatetime
    channel: str | None
    event: str
    attempt: int
    detail: dict[str, Any]


class Shown(BaseModel):
    """A notification: what was asked for, how far it has come, and what has happened, oldest first."""

    id: UUID
    status: Status
    event_type: str
    user_id: str
    actor_user_id: str | None
    channels: list[str]
    template_name: str | None
    dedup_key: str | None
    priority: Priority
    created_at: AwareDatetime
    deliver_at: AwareDatetime | None
    expires_at: AwareDatetime | None
    traceparent: str | None
    trace_id: str | None
    digest_key: str | None
    digest_window: int | None
    escalate_after: int | None
    escalate_channels: list[str] | None
    is_digest: bool
    canceled_at: AwareDatetime | None
    payload: dict[str, Any]
    deliveries: list[Delivery]
    timeline: list[Event]


def derive(statuses: Collection[str], *, canceled: bool = False, scheduled: bool = False) -> str:
    """One word for the whole: scheduled, pending, sending, deferred, or how it ended."""
    if set(statuses) <= {"pending"}:
        return "canceled" if canceled else "scheduled" if scheduled else "pending"
    if going_on := set(statuses) - set(CLOSED):
        return "deferred" if going_on == {"deferred"} else "sending"
    return next(status for status in CLOSED if status in statuses)


def whole(
    deliveries: Collection[Mapping[str, Any]], scheduled: Collection[Mapping[str, Any]], *, canceled: bool
) -> str:
    waits = any(item["reason"] == "deliver_at" for item in scheduled)
    return derive([delivery["status"] for delivery in deliveries], canceled=canceled, scheduled=waits)


def describe(row: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to GET /v1/notifications/{id}, from the row of notifications.status."""
    scheduled = json.loads(row["scheduled"])
    deliveries = by_channel(row["channels"], json.loads(row["deliveries"]), scheduled)
    add_devices(deliveries, json.loads(row["devices"]))
    return {
        "id": str(row["id"]),
        "status": whole(deliveries, scheduled, canceled=row["canceled_at"] is not None),
        **{name: plain(row[name]) for name in COLUMNS},
        "trace_id": trace_id(row["traceparent"]),
        "payload": json.loads(row["payload"]),
        "deliveries": deliveries,
        "timeline": timeline(row, json.loads(row["events"])),
    }


def by_channel(
    channels: list[str], claimed: list[dict[str, Any]], scheduled: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """One entry for each channel, in the producer's order; what no worker has claimed yet is pending."""
    rows = {delivery["channel"]: delivery for delivery in claimed}
    due = {channel: item for item in scheduled for channel in item["channels"]}
    return [
        explained(
            {"channel": channel, "status": "pending", "attempts": 0} | rows.get(channel, {}), due.get(channel)
        )
        for channel in channels
    ]


def add_devices(deliveries: list[dict[str, Any]], tried: list[dict[str, Any]]) -> None:
    """To each channel those that it was tried on."""
    for delivery in deliveries:
        if own := [device for device in tried if device["channel"] == delivery["channel"]]:
            delivery["devices"] = [
                {name: value for name, value in device.items() if name != "channel"} for device in own
            ]


def explained(delivery: dict[str, Any], waits: dict[str, Any] | None) -> dict[str, Any]:
    """When it is tried next, and why it has not been sent."""
    return delivery | {"next_attempt_at": waits and waits["due_at"], "why": why.unsent(delivery, waits)}


def timeline(row: Mapping[str, Any], events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What happened, oldest first: the notification's own moments, then each delivery's."""
    own = [moment(row["created_at"], "created")]
    if row["deliver_at"] is not None and row["deliver_at"] > row["created_at"]:
        own.append(moment(row["created_at"], "scheduled", deliver_at=row["deliver_at"].isoformat()))
    if row["canceled_at"] is not None:
        own.append(moment(row["canceled_at"], "canceled"))
    return sorted([*own, *events], key=lambda event: datetime.fromisoformat(event["at"]))


def moment(at: datetime, event: str, **detail: str) -> dict[str, Any]:
    return {"at": at.isoformat(), "channel": None, "event": event, "attempt": 0, "detail": detail}


def plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
